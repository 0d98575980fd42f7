"""Which page-table columns does a kernel really dereference?

Nobody outside NVIDIA can read a trtllm-gen cubin, so its footprint is three
nested guesses (`triage.replay.footprint`). The probe settles them on a machine
that runs the kernel: one launch per column, the id in that column pointing
into the unmapped guard behind the cache, each launch in a process of its own.
A launch that faults has dereferenced the column. NaN in a page shows nothing
here, because masked loads are loads too.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from triage.dump import write_dump
from triage.errors import ReplayError
from triage.evidence import Evidence, TensorFacts
from triage.index_space import launch_columns
from triage.record import Dump, Launch, Ragged, Tables
from triage.replay.engine import replay_file
from triage.replay.flashinfer_call import DECODE
from triage.replay.kernels import KERNELS, gpu_present
from triage.replay.verdict import Outcome, Verdict
from triage.resolver.pins import installed

MAX_COLUMNS = 512

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


def probe(
    kernel: str, geometry: Geometry, *, timeout_s: float, progress: Progress | None = None
) -> dict[str, Any]:
    """Probe every column; the result is plain data to be sent back as JSON.

    Raises:
        ReplayError: for a kernel that cannot fault, or a geometry that no table has.
    """
    if kernel != "emulator" and not KERNELS[kernel].needs_gpu:
        raise ReplayError(f"{kernel} never faults on a bad id, so there is nothing to probe")
    if not 0 < geometry.width <= MAX_COLUMNS or geometry.length < geometry.q_len:
        raise ReplayError(f"a probe needs 1 to {MAX_COLUMNS} columns and a row with its queries")
    if geometry.length > geometry.width * geometry.page_size:
        raise ReplayError(f"{geometry.length} tokens do not fit {geometry.width} columns")
    columns = []
    for column in range(geometry.width):
        columns.append(_probe_column(kernel, geometry, column, timeout_s))
        if progress is not None:
            progress(column + 1, geometry.width)
        if columns[-1].dereferenced is None:
            break  # what is missing for one column is missing for all
    return {
        "kernel": kernel,
        "machine": machine(),
        "geometry": asdict(geometry),
        "columns": [asdict(each) for each in columns],
        "reading": reading(columns, geometry),
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
    gaps = len(read) != read[-1] - read[0] + 1
    first_token = read[0] * geometry.page_size
    oldest = max(geometry.length - geometry.q_len - geometry.window + 1, 0) * bool(geometry.window)
    tiles = [
        str(tile)
        for tile in (geometry.page_size, 128, 256)
        if oldest // tile * tile // geometry.page_size == read[0]
    ]
    rule = f"rounded down to {' or '.join(tiles)} tokens" if tiles else "by no known rule"
    last = -(-geometry.length // geometry.page_size) - 1
    tail = "at the last live page" if read[-1] == last else f"at column {read[-1]}, live to {last}"
    return (
        f"columns {read[0]} to {read[-1]} are dereferenced{' with gaps' if gaps else ''}: from "
        f"token {first_token} (oldest visible {oldest}, {rule}), ending {tail}"
    )


def _probe_column(kernel: str, geometry: Geometry, column: int, timeout_s: float) -> ColumnProbe:
    dump = probe_dump(geometry, column)
    with tempfile.TemporaryDirectory(prefix="triage-probe-") as directory:
        path = write_dump(dump, Path(directory))
        verdicts = replay_file(path, dump, [kernel], timeout_s=timeout_s)
    verdict = next(each for each in verdicts if each.kernel == kernel)
    return ColumnProbe(
        column, _expected_set(dump, column), _dereferenced(verdict), verdict.reasons[0]
    )


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


def probe_dump(geometry: Geometry, column: int) -> Dump:
    """A sound launch of one row, but for `column`, whose id lies in the guard behind the cache."""
    table = np.arange(1, geometry.width + 1, dtype=np.int32)[None, :]
    table[0, column] = geometry.num_pages + geometry.num_pages // 2
    cache = (geometry.num_pages, geometry.num_kv_heads, geometry.page_size, geometry.head_dim)
    query = (geometry.q_len, geometry.num_q_heads, geometry.head_dim)
    return Dump(
        fault=Evidence("I1", f"probe of column {column}", "probe", total=1),
        launch=Launch(
            api=DECODE,
            launch_id=column,
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
