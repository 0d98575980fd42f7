"""One timed request to an OpenAI-compatible server, through the `openai` client.

Times are from the moment the request is sent to the first token, and to the last. Retries
are off: a retried request is two requests, and the harness wants to see the first fail.
The clients are imported where a server is asked: results are read and compared without.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

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
    """An async context around one client. `base_url` is the root or ends in /v1."""

    def __init__(self, base_url: str, model: str = "", timeout_s: float = 600) -> None:
        import openai

        parts = urlsplit(base_url if "//" in base_url else f"http://{base_url}")
        path = parts.path.rstrip("/").removesuffix("/v1")
        self.root = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self.model = model
        self._client = openai.AsyncOpenAI(
            base_url=f"{self.root}/v1", api_key="none", max_retries=0, timeout=timeout_s
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

        Raises openai.OpenAIError where the server does not answer.
        """
        if not self.model:
            page = await self._client.models.list()
            self.model = page.data[0].id
        return self.model

    async def accept_length(self) -> float | None:
        """Average accepted tokens per speculative step, where SGLang reports it."""
        import httpx

        async with httpx.AsyncClient(timeout=10) as client:
            for path in ("/get_server_info", "/server_info"):
                try:
                    reply = await client.get(self.root + path)
                    states = reply.json()["internal_states"] if reply.is_success else []
                except (httpx.HTTPError, KeyError, ValueError):
                    continue
                found = [s["avg_spec_accept_length"] for s in states if _reports_acceptance(s)]
                if found:
                    return float(sum(found) / len(found))
        return None

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
        import httpx
        import openai

        begin = time.perf_counter()
        ttft, pieces, usage, error = None, [], None, ""
        try:
            async for chunk in await create(**arguments):
                piece = text_of(chunk)
                if piece:
                    ttft = time.perf_counter() - begin if ttft is None else ttft
                    pieces.append(piece)
                usage = chunk.usage or usage
        except openai.APIConnectionError as failure:
            error = f"{GONE}: {failure.__cause__ or failure}"
        except (httpx.HTTPError, openai.OpenAIError) as failure:
            # httpx alone: a stream that broke off in the middle
            kind = GONE if isinstance(failure, httpx.TransportError) else type(failure).__name__
            error = f"{kind}: {str(failure)[:200]}"
        return Answer(
            index=index,
            started_s=begin - origin,
            ttft_s=ttft,
            duration_s=time.perf_counter() - begin,
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else len(pieces),
            text="".join(pieces),
            error=error,
        )


def _text(chunk: Any) -> str:
    return chunk.choices[0].text or "" if chunk.choices else ""


def _said(chunk: Any) -> str:
    return chunk.choices[0].delta.content or "" if chunk.choices else ""


def _reports_acceptance(state: Any) -> bool:
    return isinstance(state, dict) and isinstance(state.get("avg_spec_accept_length"), (int, float))
