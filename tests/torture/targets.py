"""What is fuzzed: bytes in, a result or an error of ours out, in bounded time and memory.

`reader` takes the file of a dump, its checksums made right again, so that a mutation reaches
the sections and what reads them; `importer` takes whatever `triage import` may be given.
"""

from __future__ import annotations

import io
import json
import resource
import struct
import tempfile
import time
import traceback
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack

from tests import dumps_fixture as dumps
from triage.dump.file import MAGIC, decode, encode
from triage.errors import TriageError
from triage.explain import explain
from triage.importers import import_path
from triage.importers.recognise import read_log
from triage.replay.deduction import deduce
from triage.report.summary import summarise

SLOW_S = 1.0


@dataclass
class Tally:
    """What came of the inputs of one target. `wrong`: an error that is not ours -> an input."""

    inputs: int = 0
    results: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    wrong: Counter[str] = field(default_factory=Counter)
    samples: dict[str, str] = field(default_factory=dict)

    def take(self, target: Any, content: bytes) -> None:
        begin = time.thread_time()
        try:
            target(content)
            self.results += 1
        except TriageError:
            self.refused += 1
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
            self.wrong[where] += 1
            self.samples.setdefault(where, content[:4096].hex())
        self.inputs += 1
        self.slowest_s = max(self.slowest_s, time.thread_time() - begin)

    def json(self) -> dict[str, Any]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        return {**vars(self), "wrong": dict(self.wrong), "peak_mib": peak}


def resigned(content: bytes) -> bytes:
    """The same file with the right checksums, as far as it is a list of sections."""
    try:
        outer = msgpack.unpackb(content, max_ext_len=0, strict_map_key=False)
        parts = [
            [name, required, zlib.crc32(body, zlib.crc32(name.encode(), int(required))), body]
            for name, required, _, body in outer[2:]
        ]
        return msgpack.packb([MAGIC, 1, *parts])
    except Exception:  # no such list: it is refused as it is
        return content


def reader(content: bytes) -> None:
    dump = decode(resigned(content))
    summarise(dump)
    explain(dump)
    deduce(dump)


SCRATCH = Path(tempfile.gettempdir()) / "triage-torture"


def importer(content: bytes) -> None:
    """The first byte says what it is to be: a text, a `.pt` file, a FlashInfer directory."""
    kind, rest = content[:1] or b"\0", content[1:]
    if kind[0] % 4 < 2:
        read_log(io.BytesIO(rest), "log")
        return
    SCRATCH.mkdir(exist_ok=True)
    if kind[0] % 4 == 2:
        path = SCRATCH / "x.pt"
        path.write_bytes(rest)
        import_path(path)
        return
    folder = SCRATCH / "level10"
    folder.mkdir(exist_ok=True)
    metadata, _, tensors = rest.partition(b"\0\0\0\0")
    (folder / "metadata.jsonl").write_bytes(metadata)
    (folder / "inputs.safetensors").write_bytes(tensors)
    import_path(folder)


def reader_seeds() -> list[bytes]:
    small = replace(dumps.SMALL, rows=2)
    seeds = [encode(dumps.make_dump(small, kind)) for kind in dumps.TABLE_KINDS]
    golden = Path(__file__).resolve().parents[2] / "dumps"
    return seeds + [path.read_bytes() for path in sorted(golden.glob("smoke*.msgpack"))]


def importer_seeds() -> list[bytes]:
    text = (
        b"kv_canary violation: launch_tag=decode fail_reason=verify slot_idx=5 position=3\n"
        b"NVRM: Xid (PCI:0000:01:00): 31, pid=1, Ch 8, intr 0. MMU Fault: ENGINE GRAPHICS GPC1 "
        b"faulted @ 0x7f10_12345000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ\n"
        b"========= Invalid __global__ read of size 16 bytes\n"
        b"=========     at fmhaSm100Kernel+0x1230\n=========     Address 0x7f1012345000 is out of "
        b"bounds\nRuntimeError: CUDA error: an illegal memory access was encountered\n"
        b"pool memory leak detected! available=1 evictable=2 protected=3\n"
    )
    call = "flashinfer.decode.trtllm_batch_decode_with_kv_cache"
    tensor = {"shape": [2, 4], "stride": [4, 1], "dtype": "torch.int32", "device": "cpu"}
    metadata = {
        "function_name": call,
        "call_sequence": 1,
        "tensor_details": {
            "arg_0": {**tensor, "shape": [2, 8, 16], "stride": [128, 16, 1]},
            "kwarg_kv_cache__0": {**tensor, "shape": [9, 1, 16, 16], "stride": [256, 256, 16, 1]},
            "arg_3": tensor,
            "arg_4": {**tensor, "shape": [2], "stride": [1]},
        },
        "input_metadata": {"kwarg_window_left": 15, "arg_5": 64},
    }
    header = json.dumps(
        {
            "arg_3": {"dtype": "I32", "shape": [2, 4], "data_offsets": [0, 32]},
            "arg_4": {"dtype": "I32", "shape": [2], "data_offsets": [32, 40]},
        }
    ).encode()
    tensors = struct.pack("<Q", len(header)) + header + bytes(range(40))
    level10 = json.dumps(metadata).encode() + b"\n\0\0\0\0" + tensors
    found = [b"\0" + text, b"\3" + level10]
    try:
        import torch
    except ImportError:
        return found
    file = io.BytesIO()
    torch.save(
        {
            "page_table": torch.ones(2, 4, dtype=torch.int32),
            "cache_seqlens": torch.tensor([40, 50]),
            "k_cache_shape": (9, 1, 16, 16),
            "page_size": 16,
        },
        file,
    )
    return [*found, b"\2" + file.getvalue()]


TARGETS = {"reader": (reader, reader_seeds), "importer": (importer, importer_seeds)}
