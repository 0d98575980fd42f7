"""One timed request to an OpenAI-compatible server, through the `openai` client.

Times are from the moment the request is sent to the first token, and to the last. Retries
are off: a retried request is two requests, and the harness wants to see the first fail. The
clients are imported where a server is asked: results are read and compared without. An
answer has a deadline as a whole, a size, a content type and a form; one that is none is an error.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from triage.fleet.no_answer import NoAnswer

INFO_TIMEOUT_S = 10.0
MAX_NAME, MAX_ERROR, MAX_TOKENS = 200, 200, 1 << 31

GONE = "connection"
"""`Answer.error` begins so where the server could not be reached at all."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request got. Times in seconds; `ttft_s` is None where no token came."""

    index: int
    started_s: float
    ttft_s: float | None
    duration_s: float
    prompt_tokens: int
    completion_tokens: int
    text: str
    error: str = ""

    @property
    def tpot_s(self) -> float | None:
        """Seconds per token after the first, None for fewer than two tokens."""
        if self.ttft_s is None or self.completion_tokens < 2:
            return None
        return (self.duration_s - self.ttft_s) / (self.completion_tokens - 1)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Server:
    """An async context around one client. `base_url` is the root or ends in /v1.

    timeout_s: of one whole answer, however steadily it drips.
    """

    def __init__(self, base_url: str, model: str = "", timeout_s: float = 600) -> None:
        import httpx
        import openai

        from triage.fleet.limits import Limited

        parts = urlsplit(base_url if "//" in base_url else f"http://{base_url}")
        path = parts.path.rstrip("/").removesuffix("/v1")
        self.root = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self.model = model
        self.timeout_s = timeout_s
        self._client = openai.AsyncOpenAI(
            base_url=f"{self.root}/v1",
            api_key="none",
            max_retries=0,
            timeout=timeout_s,
            http_client=httpx.AsyncClient(transport=Limited(), timeout=timeout_s),
        )

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.close()

    async def find_model(self) -> str:
        """The model to ask for: the one given, else the first that the server serves.

        Raises NoAnswer, TimeoutError, openai.OpenAIError or httpx.HTTPError where the server
        does not say.
        """
        if not self.model:
            async with asyncio.timeout(min(self.timeout_s, INFO_TIMEOUT_S)):
                plain = await self._info("/v1/models")
            models = plain.get("data") if isinstance(plain, dict) else None
            first = models[0] if isinstance(models, list) and models else None
            name = first.get("id") if isinstance(first, dict) else None
            if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
                raise NoAnswer("its list of models names none")
            self.model = name
        return self.model

    async def accept_length(self) -> float | None:
        """Average accepted tokens per speculative step, where SGLang reports it."""
        import httpx

        for path in ("/get_server_info", "/server_info"):
            try:
                async with asyncio.timeout(INFO_TIMEOUT_S):
                    plain = await self._info(path)
            except (httpx.HTTPError, NoAnswer, TimeoutError):
                continue
            states = plain.get("internal_states") if isinstance(plain, dict) else None
            found = (
                [_acceptance(state) for state in states if isinstance(state, dict)]
                if (isinstance(states, list))
                else []
            )
            known = [value for value in found if value is not None]
            if known:
                return sum(known) / len(known)
        return None

    async def _info(self, path: str) -> Any:
        """The JSON that the server answers a GET with; NoAnswer where it is none."""
        import httpx

        from triage.fleet.limits import MAX_INFO_BYTES, Limited

        async with httpx.AsyncClient(transport=Limited(MAX_INFO_BYTES), timeout=10) as client:
            reply = await client.get(self.root + path)
            if not reply.is_success:
                raise NoAnswer(f"status {reply.status_code}")
            try:
                return reply.json()
            except (ValueError, RecursionError) as error:
                raise NoAnswer("what it says is no JSON") from error

    async def complete(self, index: int, text: str, max_tokens: int, origin: float) -> Answer:
        """Stream a completion of exactly `max_tokens` tokens (both SGLang and vLLM obey)."""
        stream: dict[str, Any] = {
            "model": self.model,
            "prompt": text,
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "extra_body": {"ignore_eos": True},
        }
        return await self._timed(index, origin, self._client.completions.create, stream, _text)

    async def chat(self, index: int, content: Any, max_tokens: int, origin: float) -> Answer:
        """Stream a chat answer to one user message; `content` as the API takes it."""
        stream: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return await self._timed(index, origin, self._client.chat.completions.create, stream, _said)

    async def _timed(
        self, index: int, origin: float, create: Any, arguments: dict[str, Any], text_of: Any
    ) -> Answer:
        begin = time.perf_counter()
        ttft, pieces, usage, error, ended = None, [], (0, 0), "", False
        try:
            async with asyncio.timeout(self.timeout_s):
                async for chunk in await create(**arguments):
                    piece = text_of(chunk)
                    if not isinstance(piece, str):
                        raise NoAnswer(f"its text is {type(piece).__name__}")
                    if piece:
                        ttft = time.perf_counter() - begin if ttft is None else ttft
                        pieces.append(piece)
                    ended = ended or bool(chunk.choices and chunk.choices[0].finish_reason)
                    usage = _usage(chunk) or usage
            if not (pieces or usage[1] or ended):
                raise NoAnswer("the stream ended without a token")
        except TimeoutError:
            error = f"timeout: no whole answer within {self.timeout_s:g} s"
        except Exception as failure:  # whatever a server may answer, it is that request's error
            error = _sentence(failure)
        return Answer(
            index=index,
            started_s=begin - origin,
            ttft_s=ttft,
            duration_s=time.perf_counter() - begin,
            prompt_tokens=usage[0],
            completion_tokens=usage[1] or len(pieces),
            text="".join(pieces),
            error=error,
        )


def _sentence(failure: Exception) -> str:
    """Why there is no answer; begins with GONE where the server could not be reached at all."""
    import httpx
    import openai

    none = reason_of(failure)
    if none is not None:
        return f"no answer: {none}"
    if isinstance(failure, openai.APITimeoutError):
        return "timeout: the server did not begin to answer"
    if isinstance(failure, openai.APIConnectionError):
        return f"{GONE}: {failure.__cause__ or failure}"[:MAX_ERROR]
    if isinstance(failure, httpx.TransportError):  # a stream that broke off in the middle
        return f"{GONE}: {failure}"[:MAX_ERROR]
    if isinstance(failure, (httpx.HTTPError, openai.OpenAIError)):
        return f"{type(failure).__name__}: {failure}"[:MAX_ERROR]
    return f"no answer: not of this API's form ({type(failure).__name__})"


def reason_of(failure: BaseException) -> NoAnswer | None:
    """The NoAnswer that a client's error was raised for, if it was."""
    seen: set[int] = set()
    error: Any = failure
    while error is not None and id(error) not in seen:
        if isinstance(error, NoAnswer):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _usage(chunk: Any) -> tuple[int, int] | None:
    usage = getattr(chunk, "usage", None)
    if usage is None:
        return None
    counts = (usage.prompt_tokens, usage.completion_tokens)
    if any(type(count) is not int or not 0 <= count < MAX_TOKENS for count in counts):
        raise NoAnswer("its usage is not two numbers of tokens")
    return counts


def _text(chunk: Any) -> str:
    return chunk.choices[0].text or "" if chunk.choices else ""


def _said(chunk: Any) -> str:
    return chunk.choices[0].delta.content or "" if chunk.choices else ""


def _acceptance(state: dict[str, Any]) -> float | None:
    value = state.get("avg_spec_accept_length")
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value < MAX_TOKENS else None
