"""Play a load against a server and keep every answer, also where the load is cut short.

Each answer is a JSON line in `results_path` the moment it is there; `read` makes a
LoadResult of such a file again, so an interrupted load loses only what was under way.

Long because requests, answers and the file that keeps them are one format.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from triage.errors import LabError
from triage.lab.server import workload
from triage.lab.server.workload import Asked

REQUEST_TIMEOUT_S = 300.0
REFUSALS_MEAN_GONE = 3
"""So many refused connections in a row, and nobody listens any more: nothing more is sent."""

_META = (
    *("prompt_tokens", "completion_tokens", "cached_tokens", "e2e_latency"),
    *("spec_accept_length", "spec_accept_rate", "spec_verify_ct"),
)


@dataclass(frozen=True, slots=True)
class RequestResult:
    """What one request of a load came to.

    status: "ok", "aborted" (by the load, on purpose), "ended" (the server's own abort) or "failed".
    output_ids: the answer; empty where aborted or failed.
    meta: of SGLang's meta_info, token counts and what it says of speculation.
    """

    index: int
    status: str
    prompt_tokens: int
    output_ids: tuple[int, ...] = ()
    seconds: float = 0.0
    error: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load came to. `results` are in the order of request indices.

    requests: how many the load has; those without a result were never sent, or cut off.
    """

    kind: str
    requests: int
    results: tuple[RequestResult, ...]
    seconds: float

    @property
    def ok(self) -> int:
        return self._count("ok")

    @property
    def failed(self) -> int:
        return self._count("failed")

    @property
    def aborted(self) -> int:
        return self._count("aborted")

    @property
    def ended(self) -> int:
        """Requests that the server answered with an abort of its own."""
        return self._count("ended")

    @property
    def unsent(self) -> int:
        return self.requests - len(self.results)

    @property
    def outputs(self) -> dict[int, tuple[int, ...]]:
        """Request index -> output ids, of the requests that ended well."""
        return {one.index: one.output_ids for one in self.results if one.status == "ok"}

    @property
    def digest(self) -> str:
        """sha256 over index and output ids of the requests that ended well."""
        digest = hashlib.sha256()
        for index, ids in sorted(self.outputs.items()):
            digest.update(json.dumps([index, *ids]).encode())
        return digest.hexdigest()

    @property
    def tokens(self) -> int:
        """Output tokens of the requests that ended well."""
        return sum(len(ids) for ids in self.outputs.values())

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def accept_length(self) -> float | None:
        """Mean tokens a verify step, weighted by steps; None where nothing speculated."""
        steps = [int(one.meta.get("spec_verify_ct") or 0) for one in self.results]
        done = [len(one.output_ids) for one in self.results]
        total = sum(steps)
        speculated = sum(count for count, step in zip(done, steps, strict=True) if step)
        return speculated / total if total else None

    @property
    def errors(self) -> dict[str, int]:
        """Error -> how many requests failed, or were ended by the server, with it."""
        found: dict[str, int] = {}
        for one in self.results:
            if one.status in ("failed", "ended"):
                found[one.error] = found.get(one.error, 0) + 1
        return found

    def same_as(self, other: LoadResult) -> tuple[int, int, float]:
        """(requests with equal answers, requests compared, share of tokens before a difference)."""
        ours, theirs = self.outputs, other.outputs
        common = sorted(ours.keys() & theirs.keys())
        equal = sum(ours[index] == theirs[index] for index in common)
        before = sum(_common_prefix(ours[index], theirs[index]) for index in common)
        total = sum(max(len(ours[index]), len(theirs[index])) for index in common)
        return equal, len(common), before / total if total else 1.0

    def json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "requests": self.requests,
            "ok": self.ok,
            "aborted": self.aborted,
            "ended": self.ended,
            "failed": self.failed,
            "unsent": self.unsent,
            "errors": self.errors,
            "seconds": round(self.seconds, 2),
            "tokens": self.tokens,
            "tokens_per_s": round(self.tokens_per_s, 1),
            "accept_length": self.accept_length,
            "digest": self.digest,
        }

    def _count(self, status: str) -> int:
        return sum(one.status == status for one in self.results)


def plain(
    port: int,
    requests: int = 96,
    concurrency: int = 32,
    input_tokens: int = 1024,
    output_tokens: int = 256,
    seed: int = 0,
    *,
    vocab_size: int = 4096,
    temperature: float = 0.0,
    results_path: Path | None = None,
    alive: Callable[[], bool] = lambda: True,
    progress: Callable[[int, int], None] | None = None,
) -> LoadResult:
    """Greedy requests whose tokens follow from `seed` alone; see `workload.plain`.

    vocab_size: of the model; smaller values are legal.
    temperature: above 0 the answers follow from nothing.
    results_path: JSON lines, written as answers come.
    alive: asked before each request; once it says no, nothing more is sent.
    progress: called with (requests done, requests) after each.
    Raises LabError where aiohttp is missing. KeyboardInterrupt passes; `read` the lines.
    """
    asked = workload.plain(requests, input_tokens, output_tokens, seed, vocab_size)
    return play(
        "plain", asked, port, concurrency, results_path, alive, progress, temperature=temperature
    )


def mixed(
    port: int,
    requests: int = 500,
    concurrency: int = 48,
    seed: int = 0,
    *,
    vocab_size: int = 4096,
    page_size: int = 64,
    window: int = 512,
    temperature: float = 0.0,
    results_path: Path | None = None,
    alive: Callable[[], bool] = lambda: True,
    progress: Callable[[int, int], None] | None = None,
) -> LoadResult:
    """Shared prefixes, aborts, lengths around page and window edges; see `workload.mixed`."""
    asked = workload.mixed(requests, seed, vocab_size, page_size=page_size, window=window)
    return play(
        "mixed", asked, port, concurrency, results_path, alive, progress, temperature=temperature
    )


def play(
    kind: str,
    asked: Sequence[Asked],
    port: int,
    concurrency: int,
    results_path: Path | None = None,
    alive: Callable[[], bool] = lambda: True,
    progress: Callable[[int, int], None] | None = None,
    *,
    temperature: float = 0.0,
) -> LoadResult:
    """Send `asked` in order, at most `concurrency` at a time."""
    need_aiohttp()
    with contextlib.ExitStack() as stack:
        lines = None
        if results_path is not None:
            results_path.parent.mkdir(parents=True, exist_ok=True)
            lines = stack.enter_context(results_path.open("w"))
            lines.write(json.dumps({"kind": kind, "requests": len(asked)}) + "\n")
        results: list[RequestResult] = []

        def keep(result: RequestResult) -> None:
            results.append(result)
            if lines is not None:
                lines.write(json.dumps(asdict(result)) + "\n")
                lines.flush()
            if progress is not None:
                progress(len(results), len(asked))

        began = time.perf_counter()
        asyncio.run(_Player(port, concurrency, alive, keep, temperature).play(asked))
        seconds = time.perf_counter() - began
    return LoadResult(kind, len(asked), _in_order(results), seconds)


def need_aiohttp() -> None:
    """Raises LabError where it is missing."""
    try:
        import aiohttp  # noqa: F401
    except ModuleNotFoundError as error:
        raise LabError("a load needs aiohttp, which SGLang brings: pip install aiohttp") from error


def read(results_path: Path) -> LoadResult:
    """The load that `results_path` holds, as far as it came. Raises LabError for another file.

    A last line that was cut off is left out. `seconds` is 0: the file does not say.
    """
    lines = results_path.read_text().splitlines()
    results = []
    try:
        head = json.loads(lines[0])
        for line in lines[1:]:
            with contextlib.suppress(json.JSONDecodeError):
                found = json.loads(line)
                results.append(RequestResult(**{**found, "output_ids": tuple(found["output_ids"])}))
        return LoadResult(head["kind"], head["requests"], _in_order(results), 0.0)
    except (LookupError, TypeError, ValueError) as error:
        raise LabError(f"{results_path} does not hold the results of a load") from error


class _Player:
    """One pass over a load. Requests begin in order; `concurrency` of them are under way."""

    def __init__(
        self,
        port: int,
        concurrency: int,
        alive: Callable[[], bool],
        keep: Callable[[RequestResult], None],
        temperature: float,
    ) -> None:
        self.temperature = temperature
        self.url = f"http://127.0.0.1:{port}"
        self.concurrency, self.alive, self.keep = concurrency, alive, keep
        self.refused = 0
        self.token = os.urandom(4).hex()  # two loads on one server must not share request ids

    async def play(self, asked: Sequence[Asked]) -> None:
        import aiohttp

        waiting = iter(asked)
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            self.session = session
            workers = [self._work(waiting) for _ in range(min(self.concurrency, len(asked)))]
            await asyncio.gather(*workers)

    async def _work(self, waiting: Any) -> None:
        for one in waiting:
            if self.refused >= REFUSALS_MEAN_GONE or not self.alive():
                return
            self.keep(await self._ask(one))

    async def _ask(self, one: Asked) -> RequestResult:
        import aiohttp

        began = time.perf_counter()
        # SGLang aborts every request whose id begins with the one it is given: an id must not
        # be the beginning of another.
        rid = f"lab-{self.token}-{one.index:06d}"
        body = {
            "rid": rid,
            "input_ids": list(one.input_ids),
            "sampling_params": {
                "max_new_tokens": one.max_new_tokens,
                "temperature": self.temperature,
                "ignore_eos": True,
            },
        }
        how, after_s = one.abort or ("", None)
        aborting = None
        if how == "abort_request":
            aborting = asyncio.ensure_future(self._abort(rid, after_s or 0.0))
        status, error, answer = "failed", "", {}
        try:
            async with asyncio.timeout(after_s if how == "hang up" else None):
                answer = await self._post("/generate", body)
            self.refused = 0
            status = "ok"
            if (answer["meta_info"].get("finish_reason") or {}).get("type") == "abort":
                status = "aborted" if one.abort else "ended"
                error = "" if one.abort else str(answer["meta_info"]["finish_reason"])
        except TimeoutError:
            status = "aborted" if how == "hang up" else "failed"
            error = "" if how == "hang up" else f"no answer in {REQUEST_TIMEOUT_S:.0f} s"
        except aiohttp.ClientConnectorError as problem:
            self.refused += 1
            error = f"the server does not listen: {problem}"
        except (aiohttp.ClientError, ValueError, KeyError, TypeError) as problem:
            status = "aborted" if aborting is not None and aborting.done() else "failed"
            error = "" if status == "aborted" else f"{type(problem).__name__}: {problem}"
        finally:
            if aborting is not None:
                aborting.cancel()
        meta = answer.get("meta_info", {}) if status == "ok" else {}
        return RequestResult(
            index=one.index,
            status=status,
            prompt_tokens=len(one.input_ids),
            output_ids=tuple(answer.get("output_ids", ())) if status == "ok" else (),
            seconds=round(time.perf_counter() - began, 4),
            error=error[:300],
            meta={name: meta[name] for name in _META if meta.get(name) is not None},
        )

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self.session.post(self.url + path, json=body) as answer:
            if answer.status != 200:
                said = (await answer.text())[:200]
                raise ValueError(f"{path} answered {answer.status}: {said}")
            found = await answer.json(content_type=None)
            return found if isinstance(found, dict) else {}

    async def _abort(self, rid: str, after_s: float) -> None:
        import aiohttp

        await asyncio.sleep(after_s)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self.session.post(self.url + "/abort_request", json={"rid": rid}):
                pass


def _in_order(results: Sequence[RequestResult]) -> tuple[RequestResult, ...]:
    return tuple(sorted(results, key=lambda result: result.index))


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    count = 0
    for ours, theirs in zip(left, right, strict=False):
        if ours != theirs:
            break
        count += 1
    return count
