"""What is fuzzed: bytes in, a result or an error of ours out, in bounded time and memory.

`reader` takes the file of a dump, its checksums made right again, so that a mutation reaches
the sections and what reads them; `importer` takes whatever `triage import` may be given.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import shutil
import struct
import tempfile
import time
import traceback
import zlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.importers import texts
from tests.torture import filled
from triage.cli import main
from triage.dump.file import MAGIC, decode, encode
from triage.errors import TriageError
from triage.explain import explain
from triage.importers import import_path
from triage.importers.recognise import read_log
from triage.replay.deduction import deduce
from triage.report.summary import summarise

MAX_S = 1.0
MAX_OVER_KIB = 64 << 10
"""What an input may take: seconds of CPU, and KiB over what was held, beyond twice the file."""


class Memory:
    """The most that this process held since `begin`, over what it held then; exact on Linux.

    The kernel keeps the highest resident size and forgets it when asked, which takes a
    hundredth of what an input takes.
    """

    def __init__(self) -> None:
        self._forget = os.open("/proc/self/clear_refs", os.O_WRONLY)
        self._status = os.open("/proc/self/status", os.O_RDONLY)
        self._before = 0

    def begin(self) -> None:
        os.write(self._forget, b"5")
        self._before = self.kib(b"VmRSS:")

    def over_kib(self) -> int:
        return self.kib(b"VmHWM:") - self._before

    def kib(self, name: bytes) -> int:
        return int(os.pread(self._status, 4096, 0).split(name)[1].split()[0])


@dataclass
class Tally:
    """What came of the inputs of one target. `wrong`: an error that is not ours -> an input.

    guided: how many were guided by coverage.
    over_kib: the most that one input took, less twice its size.
    grown_kib: the most that the process held over what it held once everything was imported,
        whatever earlier inputs left behind; with what a fuzzer that guides holds of its own.
    """

    guided: int = 0
    inputs: int = 0
    results: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    over_kib: int = 0
    grown_kib: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._memory = Memory()
        self.warm()

    def warm(self) -> None:
        """What is held now is the imported process."""
        self._imported = self._memory.kib(b"VmRSS:")

    def take(self, target: Any, content: bytes) -> None:
        self._memory.begin()
        begin = time.thread_time()
        try:
            target(content)
            self.results += 1
        except TriageError:
            self.refused += 1
        except Exception as error:  # what is no error of ours is what is looked for
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self._blame(
                f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}", content
            )
        spent = time.thread_time() - begin
        over = self._memory.over_kib() - 2 * (len(content) >> 10)
        if spent > MAX_S:
            self._blame(f"more than {MAX_S} s", content)
        if over > MAX_OVER_KIB:
            self._blame(f"more than {MAX_OVER_KIB} KiB and twice the file", content)
        self.inputs += 1
        self.slowest_s = max(self.slowest_s, spent)
        self.over_kib = max(self.over_kib, over)
        self.grown_kib = max(self.grown_kib, self._memory.kib(b"VmHWM:") - self._imported)

    def _blame(self, what: str, content: bytes) -> None:
        self.wrong[what] = self.wrong.get(what, 0) + 1
        self.samples.setdefault(what, content[:4096].hex())

    def json(self) -> dict[str, Any]:
        return asdict(self)


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
    """Read and judge; every 199th of those that can be read goes through a command."""
    content = resigned(content)
    dump = decode(content)
    summarise(dump)
    explain(dump)
    deduce(dump)
    if zlib.crc32(content) % 199 == 0:
        command(content)


COMMANDS = (
    ("show",),
    ("show", "-v"),
    ("report", "--json"),
    ("report", "--force", "-o", "out.html"),
    ("show", "--json"),
    ("show", "--history"),
    ("explain",),
    ("explain", "--json"),
    ("export", "--whole", "--as", "pytest", "--force", "-o", "out.py"),
    ("export", "--as", "script", "--force", "-o", "out.py"),
    ("minimise", "--force", "-o", "out.msgpack"),
    ("replay", "--kernel", "emulator", "--json"),
)
JUDGES = ("minimise", "replay")
"""The commands whose exit code is a verdict."""


def command(content: bytes, number: int | None = None) -> None:
    """What a user sees: a verdict or exit 2 with a sentence, text that a terminal can bear.

    number: of `COMMANDS`; without it the content draws one.
    """
    SCRATCH.mkdir(exist_ok=True)
    path = SCRATCH / "x.msgpack"
    path.write_bytes(content)
    words = COMMANDS[(zlib.crc32(content) if number is None else number) % len(COMMANDS)]
    words = tuple(str(SCRATCH / word) if word.startswith("out.") else word for word in words)
    done = CliRunner().invoke(main, [*words, str(path)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    allowed = (0, 1, 2, 3, 4, 5) if words[0] in JUDGES else (0, 2)
    assert done.exit_code in allowed, f"{words} ended with {done.exit_code}: {done.output[-300:]}"
    assert not set(done.output.encode("utf-8", "replace")) & BARE, words
    if "--json" in words and done.exit_code in (0, 1, 4, 5):
        json.loads(done.stdout, parse_constant=lambda name: 1 / 0)


BARE = {*range(32), 127} - {*b"\n\t"}
"""Bytes that a terminal obeys."""

SCRATCH = Path(tempfile.gettempdir()) / f"triage-torture-{os.getpid()}"
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)


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
    archive = tensors[:2] == b"PK"
    (folder / ("inputs.pt" if archive else "inputs.safetensors")).write_bytes(tensors)
    (folder / ("inputs.safetensors" if archive else "inputs.pt")).unlink(missing_ok=True)
    import_path(folder)


def reader_seeds() -> list[bytes]:
    small = replace(dumps.SMALL, rows=2)
    seeds = [encode(dumps.make_dump(small, kind)) for kind in dumps.TABLE_KINDS]
    seeds += [encode(made()) for made in filled.ALL]
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
    told = [
        value for name, value in vars(texts).items() if name.isupper() and isinstance(value, str)
    ]
    found = [b"\0" + text, b"\0" + "\n".join(told).encode(), b"\3" + level10]
    found += [b"\0" + each.encode() for each in told]
    for folder in sorted((Path(texts.__file__).parent / "flashinfer").iterdir()):
        metadata = (folder / "metadata.jsonl").read_bytes()
        tensors = next(folder.glob("inputs.*")).read_bytes()
        found += [b"\3" + metadata + b"\0\0\0\0" + tensors] * 4
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
    return [*found, *[b"\2" + file.getvalue()] * 16]


TARGETS = {"reader": (reader, reader_seeds), "importer": (importer, importer_seeds)}
