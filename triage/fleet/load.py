"""Run a list of requests against a server, so many at a time, and keep what it said.

A server that cannot be reached any more ends the run after GIVE_UP failures in a row; what
was answered is kept, and the same command goes on from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import IntEnum

from triage.fleet.client import GONE, Answer, Server, reason_of
from triage.fleet.journal import Journal
from triage.fleet.no_answer import NoAnswer

GIVE_UP = 5

Ask = Callable[[Server, int, float], Awaitable[Answer]]
"""(server, index, origin of the clock) -> answer."""

Progress = Callable[[int, int], None]


class End(IntEnum):
    """How a run ended; the value is the exit code of the command."""

    COMPLETE = 0
    ERRORS = 1
    SERVER_GONE = 3


async def run(
    server: Server,
    journal: Journal,
    total: int,
    concurrency: int,
    ask: Ask,
    progress: Progress,
    note_accept_length: bool = False,
) -> End:
    """Ask for every request that has no good answer yet. The journal is written as they come."""
    missing = journal.missing(total)
    origin = time.perf_counter()
    in_a_row = 0
    gone = asyncio.Event()
    queue = iter(missing)

    async def worker() -> None:
        nonlocal in_a_row
        for index in queue:
            if gone.is_set():
                return
            answer = await ask(server, index, origin)
            journal.add(answer)
            in_a_row = in_a_row + 1 if answer.error.startswith(GONE) else 0
            if in_a_row >= GIVE_UP:
                gone.set()
            progress(total - len(journal.missing(total)), total)

    noted = {}
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(missing))):
                group.create_task(worker())
        if note_accept_length and not gone.is_set():
            noted["accept_length"] = await server.accept_length()
    finally:
        if missing:
            journal.end_segment(time.perf_counter() - origin, **noted)
    if gone.is_set():
        return End.SERVER_GONE
    return End.ERRORS if journal.missing(total) else End.COMPLETE


async def reachable(server: Server) -> str:
    """ "" if the server answers and names a model, else why not, in one sentence."""
    import httpx
    import openai

    try:
        await server.find_model()
    except (openai.OpenAIError, httpx.HTTPError, NoAnswer, TimeoutError) as error:
        why = reason_of(error) or error.__cause__ or error
        return f"no OpenAI-compatible server answers at {server.root}: {why}"
    return ""
