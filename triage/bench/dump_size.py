"""Size and durable write time of a dump, beside `torch.save` of the same launch's tensors.

Beside it are the tensors the original trap would save at full width: the page
table as allocated, the lengths, the request rows of req_to_token and the
mapping entries those rows name.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from triage.bench.figure import Figure, at_most, median_seconds
from triage.dump.file import encode, read_dump, write_dump
from triage.dump.sections import Dump


def figures(path: Path) -> list[Figure]:
    import torch

    dump = read_dump(path)
    tensors = _full_width(dump)
    with tempfile.TemporaryDirectory() as directory:
        torch_file = Path(directory) / "launch.pt"

        def save() -> None:
            with torch_file.open("wb") as file:
                torch.save(tensors, file)
                file.flush()
                os.fsync(file.fileno())

        ours = median_seconds(lambda: write_dump(dump, Path(directory), name="d.msgpack"), 9)
        theirs = median_seconds(save, 9)
        theirs_bytes = torch_file.stat().st_size
    size = len(encode(dump))
    return [
        at_most(
            "dump bytes / torch.save bytes, 64 rows",
            size / theirs_bytes,
            0.5,
            "x",
            f"{size:,} against {theirs_bytes:,} bytes",
        ),
        at_most(
            "durable dump time / torch.save + fsync",
            ours / theirs,
            1.0,
            "x",
            f"{ours * 1e3:.1f} against {theirs * 1e3:.1f} ms",
        ),
    ]


def _full_width(dump: Dump) -> dict[str, object]:
    import torch

    assert dump.launch is not None and dump.tables is not None
    assert dump.tables.req_to_token is not None and dump.tables.mapping is not None
    page = dump.launch.page_size
    rows = len(dump.tables.page_table)
    table = np.zeros((rows, dump.launch.tensors["block_tables"].shape[1]), dtype=np.int32)
    padded = dump.tables.page_table.padded()
    table[:, : padded.shape[1]] = padded
    starts = dump.tables.req_to_token.padded()
    slots = np.repeat(starts, page, axis=1) + np.arange(starts.shape[1] * page) % page
    slots = slots[:, : dump.launch.max_seq_len]
    mapping = dict(dump.tables.mapping.tolist())
    swa = np.array([mapping.get(int(slot - slot % page), 0) for slot in slots.ravel()])
    return {
        "page_table": torch.from_numpy(table),
        "cache_seqlens": torch.from_numpy(dump.tables.cache_seqlens.astype(np.int32)),
        "req_to_token": torch.from_numpy(slots.astype(np.int32)),
        "mapping": torch.from_numpy(swa.astype(np.int32)),
    }
