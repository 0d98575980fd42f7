"""A batch: list, leave out what is known, read and explain the rest over an engine, keep it all."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from triage.batch import exemplars
from triage.batch.clusters import Overview, overview
from triage.batch.objects import IN_PROCESS, Listing, Object, list_sources
from triage.batch.results import Results
from triage.batch.rows import Chunk, failed, rows_of
from triage.engines import Engine, Inline, Lost
from triage.errors import DumpError

CHUNK_OBJECTS, CHUNK_BYTES = 32, 8 << 20
"""What one task reads: enough that handing it over costs nothing, little enough to lose."""

FLUSH_S = 15.0


@dataclass(frozen=True, slots=True)
class Told:
    """How far a batch is. rate: objects a second since it began."""

    done: int
    of: int
    rate: float
    now: str = ""


Tell = Callable[[Told], None]


@dataclass(slots=True)
class Batch:
    """What a run did. made: rows of this run; known: rows of earlier ones that still hold."""

    results: Path
    engine: str
    overview: Overview
    made: int = 0
    known: int = 0
    seconds: float = 0.0
    passed_over: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    no_exemplar: dict[str, str] = field(default_factory=dict)


def run(
    sources: Sequence[str],
    results: Path,
    engine: Callable[[], Engine],
    *,
    replay: str = "",
    minimal: bool = True,
    tell: Tell = lambda told: None,
) -> Batch:
    """Explain every dump of `sources` into `results` (Parquet).

    Args:
        engine: makes the engine; called only where there is something to do.
        replay: the kernel to replay each dump on (one of `triage.replay.kernels.ON_A_CPU`),
            "" for none.
        minimal: keep one minimal dump of each cluster beside the results.
    Raises:
        DumpError: no source could be listed or all are empty; the results cannot be written.
    """
    tell(Told(0, 0, 0.0, "listing"))
    listing = list_sources(sources)
    _refuse_nothing(sources, listing)
    started = time.monotonic()
    held = Results(results)
    working: Engine | None = None
    try:
        known = held.known(replay)
        new = [each for each in listing.objects if known.get(each.url) != (each.size, each.stamp)]
        if listing.protocols & IN_PROCESS or not new:
            engine = Inline
        working = engine()
        if listing.protocols & IN_PROCESS and working.name == "ray":
            raise DumpError("memory:// lies in this process, and Ray's workers are others")
        _explain(new, replay, working, held, tell, started)
        table = held.finish()
        found = overview(table)
        batch = Batch(results, working.name, found, len(new), len(listing.objects) - len(new))
        batch.passed_over, batch.problems = listing.passed_over, listing.problems
        if minimal:
            by_url = {each.url: each for each in listing.objects}
            batch.no_exemplar = exemplars.make(
                found.clusters,
                by_url,
                results,
                working,
                lambda done, of: tell(Told(done, of, 0.0, "minimal dumps")),
            )
        else:
            exemplars.find(found.clusters, results)
        batch.seconds = time.monotonic() - started
        return batch
    finally:
        try:
            held.close()
        finally:
            if working is not None:
                working.close()


def _refuse_nothing(sources: Sequence[str], listing: Listing) -> None:
    if listing.objects:
        return
    if listing.problems:
        raise DumpError("; ".join(listing.problems.values()))
    over = "; ".join(f"{count} {why}" for why, count in listing.passed_over.items())
    raise DumpError(f"{', '.join(sources)}: no dump is there" + (f" ({over})" if over else ""))


def _explain(
    objects: Sequence[Object],
    replay: str,
    engine: Engine,
    held: Results,
    tell: Tell,
    started: float,
) -> None:
    again: deque[Chunk] = deque()
    done, flushed = 0, started

    def tasks() -> Iterator[Chunk]:
        for chunk in chunks(objects, replay):
            yield chunk
            while again:
                yield again.popleft()

    def take(todo: Iterator[Chunk]) -> None:
        nonlocal done, flushed
        for chunk, answer in engine.map(rows_of, todo):
            if not isinstance(answer, Lost):
                rows = answer.rows()
            elif len(chunk.objects) > 1:
                again.extend(Chunk((each,), replay) for each in chunk.objects)
                continue
            else:
                rows = [failed(chunk.objects[0], answer.reason)]
            held.add(rows)
            done += len(rows)
            now = time.monotonic()
            if now - flushed > FLUSH_S:
                held.flush()
                flushed = now
            tell(Told(done, len(objects), done / max(now - started, 1e-6)))

    take(tasks())
    while again:  # what was lost among the last
        left, again = again, deque()
        take(iter(left))


def chunks(objects: Sequence[Object], replay: str) -> Iterator[Chunk]:
    """`objects` in order, `CHUNK_OBJECTS` or `CHUNK_BYTES` at a time."""
    held: list[Object] = []
    size = 0
    for each in objects:
        if held and (len(held) == CHUNK_OBJECTS or size + each.size > CHUNK_BYTES):
            yield Chunk(tuple(held), replay)
            held, size = [], 0
        held.append(each)
        size += each.size
    if held:
        yield Chunk(tuple(held), replay)
