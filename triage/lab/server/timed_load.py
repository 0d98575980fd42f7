"""Play a load and time it: first token, time per further token, and the answers themselves.

The server runs with `STREAM_FLAGS`: it sends the first token at once and the rest when the
request ends, so that what is timed is the scheduler and the GPU, not the writing of one line
per token by a Python process.

    time to first token   from sending the request to its first line
    time per token        from the first line to the last, by the tokens between them
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from triage.errors import LabError
from triage.lab.server.load import need_aiohttp
from triage.lab.server.workload import Asked

STREAM_FLAGS = ("--stream-interval", "1000000")
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Timed:
    """One request: seconds, and the ids of its answer. `ttft_s` and `tpot_s` as above."""

    index: int
    ttft_s: float
    tpot_s: float
    output_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TimedLoad:
    """Every request of one load, in order. `seconds` is that of the whole load."""

    requests: tuple[Timed, ...]
    seconds: float

    @property
    def tpot_ms(self) -> float:
        return 1e3 * statistics.median(one.tpot_s for one in self.requests)

    @property
    def ttft_ms(self) -> float:
        return 1e3 * statistics.median(one.ttft_s for one in self.requests)

    @property
    def tokens_per_s(self) -> float:
        return sum(len(one.output_ids) for one in self.requests) / self.seconds


def play(asked: Sequence[Asked], port: int, concurrency: int) -> TimedLoad:
    """Send `asked` in order, at most `concurrency` at a time, greedily.

    Raises LabError where aiohttp is missing or a request is not answered whole: a load with a
    hole is no measurement.
    """
    need_aiohttp()
    began = time.perf_counter()
    found = asyncio.run(_play(asked, f"http://127.0.0.1:{port}/generate", concurrency))
    seconds = time.perf_counter() - began
    return TimedLoad(tuple(sorted(found, key=lambda one: one.index)), seconds)


async def _play(asked: Sequence[Asked], url: str, concurrency: int) -> list[Timed]:
    import aiohttp

    waiting, found = iter(asked), []

    async def work(session: aiohttp.ClientSession) -> None:
        for one in waiting:
            found.append(await _ask(session, url, one))

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with (
            aiohttp.ClientSession(
                timeout=timeout, connector=connector, read_bufsize=2**22
            ) as session,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(min(concurrency, len(asked))):
                group.create_task(work(session))
    except* (aiohttp.ClientError, TimeoutError, ValueError, LookupError) as failed:
        raise LabError(f"a request was not answered: {failed.exceptions[0]!r}") from failed
    return found


async def _ask(session: Any, url: str, one: Asked) -> Timed:
    sampling = {"max_new_tokens": one.max_new_tokens, "temperature": 0, "ignore_eos": True}
    body = {"input_ids": list(one.input_ids), "sampling_params": sampling, "stream": True}
    began = time.perf_counter()
    first: tuple[float, int] | None = None
    last, answer = began, {}
    async with session.post(url, json=body) as response:
        if response.status != 200:
            raise ValueError(f"answered {response.status}: {(await response.text())[:200]}")
        async for line in response.content:
            text = line.strip()
            if not text.startswith(b"data:") or text.endswith(b"[DONE]"):
                continue
            last, answer = time.perf_counter(), json.loads(text[5:])
            if first is None:
                first = last, int(answer["meta_info"]["completion_tokens"])
    if first is None or "error" in answer:
        raise ValueError(f"no token came: {str(answer)[:200]}")
    tokens = int(answer["meta_info"]["completion_tokens"])
    if tokens != one.max_new_tokens:
        raise ValueError(f"{tokens} of {one.max_new_tokens} tokens came")
    at, before = first
    tpot = (last - at) / (tokens - before) if tokens > before else 0.0
    return Timed(one.index, at - began, tpot, tuple(answer["output_ids"]))
