"""Which page-table columns does a kernel really dereference?

Nobody outside NVIDIA can read a trtllm-gen cubin, so its footprint is three
nested guesses (`triage.dump.footprint`). The probe settles them on a machine
that runs the kernel: launches whose ids in some columns point into the unmapped
guard behind the cache, each launch in a process of its own. One that faults has
dereferenced one of those columns; one that does not, none of them. So the
columns that no guess holds to be read are tried together and halved only if
that faults, the others one by one. NaN in a page shows nothing here, because
masked loads are loads too.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from triage.dump.expected_ids import launch_columns
from triage.dump.file import write_dump
from triage.dump.flashinfer_api import DECODE
from triage.dump.sections import Dump, Launch, Ragged, Tables
from triage.errors import ReplayError
from triage.evidence import Evidence, TensorFacts
from triage.replay.engine import replay_file
from triage.replay.kernels import KERNELS, gpu_present
from triage.replay.verdict import Outcome, Verdict
from triage.resolver.pins import installed

MAX_COLUMNS = 512
# The first launch builds the kernel: FlashInfer's FA3 from source in minutes.
FIRST_LAUNCH_S = 900.0
# CTA_KV of FlashInfer's FA3 at head_dim 64 and 128; `get_swa_begin_kv_tile_idx` takes one more.
FA3_TILE_TOKENS = 96

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Geometry:
    """One row of the launch that is probed."""

    length: int = 1200
    window: int = 512  # keys visible to a query, 0 for all
    page_size: int = 64
    q_len: int = 1
    num_q_heads: int = 8
    num_kv_heads: int = 1
    head_dim: int = 128
    width: int = 32
    max_seq_len: int = 9216

    @property
    def num_pages(self) -> int:
        return self.width + 8


@dataclass(frozen=True, slots=True)
class ColumnProbe:
    """`dereferenced` is None where the launch could not be run."""

    column: int
    expected: str  # innermost footprint set of the column, or "outside"
    dereferenced: bool | None
    reason: str
    together: int = 1  # columns with a bad id in the launch that settled this one


def probe(
    kernel: str,
    geometry: Geometry,
    *,
    timeout_s: float,
    jobs: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Probe every column; the result is plain data to be sent back as JSON.

    Args:
        timeout_s: limit of a launch; the first one has `FIRST_LAUNCH_S`, it builds the kernel.
        jobs: launches at a time, each a process that loads torch and the kernel.
    Raises:
        ReplayError: for a kernel that cannot fault, or a geometry that no table has.
    """
    if kernel != "emulator" and not KERNELS[kernel].needs_gpu:
        raise ReplayError(f"{kernel} never faults on a bad id, so there is nothing to probe")
    if not 0 < geometry.width <= MAX_COLUMNS:
        raise ReplayError(f"width = {geometry.width} is outside [1, {MAX_COLUMNS}] columns")
    if geometry.length < geometry.q_len:
        raise ReplayError(
            f"length = {geometry.length} tokens leave no room for {geometry.q_len} query tokens; "
            "the row includes its queries"
        )
    if geometry.length > geometry.width * geometry.page_size:
        raise ReplayError(
            f"{geometry.length} tokens do not fit {geometry.width} columns of "
            f"{geometry.page_size}; widen the table or shorten the row"
        )
    sound = probe_dump(geometry, ())
    expected = [_expected_set(sound, column) for column in range(geometry.width)]
    outside = [column for column, name in enumerate(expected) if name == "outside"]
    singles = [[column] for column, name in enumerate(expected) if name != "outside"]
    # The first launch alone: it compiles the kernel, and what it lacks all others lack.
    waves = [[outside], singles] if outside else [singles[:1], singles[1:]]
    found: dict[int, ColumnProbe] = {}
    launches = 0
    limit_s = max(timeout_s, FIRST_LAUNCH_S)
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        while waves and not any(each.dereferenced is None for each in found.values()):
            wave = waves.pop(0)
            verdicts = list(pool.map(partial(_launch, kernel, geometry, limit_s), wave))
            launches += len(wave)
            limit_s = timeout_s
            halves: list[list[int]] = []
            for columns, (dereferenced, reason) in zip(wave, verdicts, strict=True):
                if dereferenced and len(columns) > 1:
                    middle = len(columns) // 2
                    halves += [columns[:middle], columns[middle:]]
                    continue
                for column in columns:
                    found[column] = ColumnProbe(
                        column, expected[column], dereferenced, reason, len(columns)
                    )
            if halves:
                waves.append(halves)
            if progress is not None:
                progress(len(found), geometry.width)
    settled = [found[column] for column in sorted(found)]
    return {
        "kernel": kernel,
        "machine": machine(),
        "geometry": asdict(geometry),
        "launches": launches,
        "columns": [asdict(each) for each in settled],
        "reading": reading(settled, geometry),
    }


def machine() -> dict[str, Any]:
    """What an answer that is sent back must say of where it was found."""
    packages = ("torch", "flashinfer-python", "cuda-python")
    facts: dict[str, Any] = {"gpu": "none"}
    for package in packages:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = "not installed"
    here = installed()
    facts["kernel_set"] = "" if here is None else here.pin
    if gpu_present():
        import torch

        if torch.cuda.is_available():
            properties = torch.cuda.get_device_properties(0)
            facts["gpu"] = properties.name
            facts["arch"] = f"sm_{properties.major}{properties.minor}"
            facts["sm_count"] = properties.multi_processor_count
            facts["cuda"] = torch.version.cuda
    return facts


def reading(columns: list[ColumnProbe], geometry: Geometry) -> str:
    """What the columns say about the footprint, in one sentence."""
    if any(each.dereferenced is None for each in columns):
        return f"could not be probed here: {columns[-1].reason}"
    read = [each.column for each in columns if each.dereferenced]
    if not read:
        return "no column was dereferenced: the guard pages were not in place"
    runs: list[list[int]] = []
    for column in read:
        if runs and column == runs[-1][-1] + 1:
            runs[-1].append(column)
        else:
            runs.append([column])
    named = [f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    begin = runs[-1][0]  # of the run that ends at the newest page
    oldest = max(geometry.length - geometry.q_len - geometry.window + 1, 0) * bool(geometry.window)
    last = -(-geometry.length // geometry.page_size) - 1
    tail = "at the last live page" if read[-1] == last else f"at column {read[-1]}, live to {last}"
    noun = "column" if named == [str(read[0])] else "columns"
    return (
        f"{noun} {' and '.join(named)} {'is' if noun == 'column' else 'are'} dereferenced: from "
        f"token {begin * geometry.page_size} (oldest visible {oldest}, "
        f"{_left_edge(oldest, begin, geometry.page_size)}), ending {tail}"
    )


def _left_edge(oldest: int, begin: int, page_size: int) -> str:
    """The rule by which a kernel that first reads column `begin` finds it from token `oldest`."""
    tiles = [t for t in (page_size, 128, 256) if oldest // t * t // page_size == begin]
    if tiles:
        return f"rounded down to {' or '.join(map(str, tiles))} tokens"
    if max(oldest // FA3_TILE_TOKENS - 1, 0) * FA3_TILE_TOKENS // page_size == begin:
        return f"the tile of {FA3_TILE_TOKENS} tokens before its own, as FA3 does"
    return "by no known rule"


def _launch(
    kernel: str, geometry: Geometry, timeout_s: float, columns: Sequence[int]
) -> tuple[bool | None, str]:
    """Whether a launch dereferences one of `columns`, and what its process said."""
    dump = probe_dump(geometry, columns)
    with tempfile.TemporaryDirectory(prefix="triage-probe-") as directory:
        path = write_dump(dump, Path(directory))
        verdicts = replay_file(path, dump, [kernel], timeout_s=timeout_s)
    verdict = next(each for each in verdicts if each.kernel == kernel)
    return _dereferenced(verdict), verdict.reasons[0]


def _dereferenced(verdict: Verdict) -> bool | None:
    if verdict.outcome is Outcome.CANNOT_RUN:
        # A value kernel has nothing to compare a probe with; that it came to say so is an answer.
        return False if "outside" in verdict.figures else None
    if verdict.kernel == "emulator":
        bad = verdict.figures["footprint"]["bad"]
        return any(count for bands in bad.values() for count in bands.values())
    if verdict.figures.get("guarded") is False:
        return None
    return bool(verdict.figures.get("faulted", False))


def probe_dump(geometry: Geometry, columns: Sequence[int]) -> Dump:
    """A sound launch of one row, but for `columns`, whose ids lie in the guard behind the cache."""
    table = np.arange(1, geometry.width + 1, dtype=np.int32)[None, :]
    table[0, list(columns)] = geometry.num_pages + geometry.num_pages // 2
    cache = (geometry.num_pages, geometry.num_kv_heads, geometry.page_size, geometry.head_dim)
    query = (geometry.q_len, geometry.num_q_heads, geometry.head_dim)
    return Dump(
        fault=Evidence("I1", f"probe of columns {list(columns)}", "probe", total=len(columns)),
        launch=Launch(
            api=DECODE,
            launch_id=0,
            layer_id=None,
            page_size=geometry.page_size,
            num_q_heads=geometry.num_q_heads,
            num_kv_heads=geometry.num_kv_heads,
            head_dim=geometry.head_dim,
            num_pages=geometry.num_pages,
            window_left=geometry.window - 1,
            max_seq_len=geometry.max_seq_len,
            q_len_per_req=geometry.q_len,
            kv_layout="HND",
            separate_kv=True,
            tensors={
                "query": _facts(query),
                "k_cache": _facts(cache),
                "v_cache": _facts(cache),
                "block_tables": _facts((1, geometry.width), "int32"),
            },
        ),
        tables=Tables(
            page_table=Ragged(table[0], np.array([0, geometry.width])),
            cache_seqlens=np.array([geometry.length], dtype=np.int32),
        ),
        provenance={"probe": True},
    )


def _expected_set(dump: Dump, column: int) -> str:
    edges = launch_columns(dump)
    if edges.must_low[0] <= column < edges.high[0]:
        return "must"
    if edges.likely_low[0] <= column < edges.high[0]:
        return "likely"
    return "may" if edges.may_low[0] <= column < edges.may_high[0] else "outside"


def _facts(shape: tuple[int, ...], dtype: str = "bfloat16") -> TensorFacts:
    stride = tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))
    return TensorFacts(dtype, shape, stride, 0, 0, "cuda:0", 0)
