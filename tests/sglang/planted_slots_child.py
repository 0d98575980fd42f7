"""Slots, offsets and tables spoilt below SGLang's real backends, one way each; prints JSON.

python -m tests.sglang.planted_slots_child DIRECTORY MODE
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.sglang.read_rows import as_read
from triage.dump.file import read_dump
from triage.errors import TrapError
from triage.lab.flashinfer_stub import EmulatedFault
from triage.lab.kernel_reads import SlotRead
from triage.lab.patching import replaced
from triage.lab.process import start
from triage.lab.rig import Bench
from triage.lab.scenarios import find, with_backend

DIRECTORY, MODE = Path(sys.argv[1]), sys.argv[2]
PROCESS = start(traps=True, fixes=(), directory=DIRECTORY, checks="reads,spec", mode=MODE)
OUTSIDE = 1 << 20


def pair(backend: Any, window: bool) -> tuple[Any, Any]:
    """Offsets and slots of the newest metadata, whoever's they are."""
    metadata = backend.forward_metadata
    wrappers = getattr(metadata, "decode_wrappers", None) or getattr(
        metadata, "prefill_wrappers", None
    )
    if wrappers is not None:
        wrapper = wrappers[0 if window else 1]
        return wrapper._paged_kv_indptr_buf, wrapper._paged_kv_indices_buf
    name = "window_kv" if window else "kv"
    return getattr(metadata, f"{name}_indptr"), getattr(metadata, f"{name}_indices")


def outside(backend: Any, window: bool) -> None:
    """A slot far past the pool."""
    pair(backend, window)[1][3] = OUTSIDE


def neighbour(backend: Any, window: bool) -> None:
    """The slot of another position of the same request: in the pool, and nobody's fault."""
    slots = pair(backend, window)[1]
    slots[3] = slots[2]


def counted_wrong(backend: Any, window: bool) -> None:
    """A row of one token less than the request has."""
    pair(backend, window)[0][-1] -= 1


def short_buffer(backend: Any, window: bool) -> None:
    """Offsets that reach past what was filled."""
    _, slots = pair(backend, window)
    metadata = backend.forward_metadata
    metadata.kv_indices = slots[: len(slots) // 2]


def table_outside(backend: Any, window: bool) -> None:
    metadata = backend.forward_metadata
    (metadata.swa_page_table if window else metadata.page_table)[0, 5] = OUTSIDE


def table_length(backend: Any, window: bool) -> None:
    backend.forward_metadata.cache_seqlens_int32[0] += 1


CASES: dict[str, tuple[str, Callable[[Any, bool], None], bool]] = {
    **{
        f"{backend}, {name}, {'window' if window else 'full'}": (backend, harm, window)
        for backend in ("triton", "flashinfer")
        for name, harm in (
            ("outside", outside),
            ("neighbour", neighbour),
            ("counted wrong", counted_wrong),
        )
        for window in (False, True)
    },
    "triton, short buffer, full": ("triton", short_buffer, False),
    "fa3, outside, full": ("fa3", table_outside, False),
    "fa3, outside, window": ("fa3", table_outside, True),
    "fa3, length, full": ("fa3", table_length, False),
}


def play(backend: str, harm: Callable[[Any, bool], None], window: bool) -> dict[str, Any]:
    """Decode steps of one request; the third forward is spoilt behind its metadata.

    In mode `log` a load past the buffer goes on, as on a GPU it may where other memory lies.
    """
    directory = DIRECTORY / f"{backend}-{harm.__name__}-{'window' if window else 'full'}"
    PROCESS.arm(traps=True, fixes=(), directory=directory)
    bench = Bench(PROCESS, with_backend(find("smoke-plain"), backend))
    owner = type(bench.runtime.target_backend)
    forwards = 0
    spoilt: Any = None

    def make(original: Any) -> Any:
        def init_forward_metadata(self: Any, forward_batch: Any) -> None:
            nonlocal forwards, spoilt
            original(self, forward_batch)
            forwards += forward_batch.forward_mode.is_decode()
            if forwards == 3 and spoilt is None:
                harm(self, window)
                spoilt = pair(self, window)[1] if backend != "fa3" else ()

        return init_forward_metadata

    trapped = dump = given = None

    def note(read: Any) -> None:
        nonlocal given
        slides = read.window if isinstance(read, SlotRead) else read.window_left >= 0
        if spoilt is not None and given is None and slides == window:
            given = as_read(read)
        try:
            bench.gpu.read(read)
        except EmulatedFault:
            if MODE != "log":
                raise

    bench.runtime.reads = note
    with replaced(owner, "init_forward_metadata", make):
        try:
            bench.driver.run(lambda done, total: None, 10)
        except TrapError as error:
            trapped, dump = error.evidence, error.dump
        except EmulatedFault:
            pass
        finally:
            bench.close()
    assert spoilt is not None, "nothing was spoilt"
    found = sorted(directory.glob("*.msgpack"), key=lambda path: path.stat().st_mtime_ns)
    written = [path for path in found if read_dump(path).launch is not None]
    if MODE == "log" and written:
        dump, trapped = str(written[0]), read_dump(written[0]).fault
    return {
        "read": given,
        "invariant": trapped and trapped.invariant,
        "tensor": trapped and trapped.violations[0].tensor,
        "pool": trapped and trapped.pool,
        "left": bool(len(spoilt) > 3 and int(spoilt[3]) == OUTSIDE),
        "dump": dump,
        "page size": bench.runtime.geometry.page_size,
        "value": trapped and trapped.violations[0].value,
        "pages": trapped and [each.page for each in trapped.pages],
        "faulted": MODE != "log" and bench.gpu.fault is not None,
    }


def narrow_row(short: bool) -> dict[str, Any]:
    """A row of a draft's buffer sized without the tokens of its steps (sglang#27338), or not."""
    from sglang.srt.layers.attention.triton_backend import TritonMultiStepDraftBackend

    PROCESS.arm(traps=True, fixes=(), directory=DIRECTORY)

    def make(original: Any) -> Any:
        def init_forward_metadata(self: Any, forward_batch: Any) -> None:
            width = int(forward_batch.seq_lens.sum()) + (0 if short else 999)
            slots = torch.zeros(self.speculative_num_steps, width, dtype=torch.int64)
            self.common_template(forward_batch, slots, lambda i, batch: packed(self, i, batch))

        return init_forward_metadata

    def packed(multi: Any, step: int, batch: Any) -> None:
        batch.spec_info.kv_indptr = batch.spec_info.kv_indptr.clone()
        batch.spec_info.kv_indices = batch.spec_info.kv_indices.clone()
        multi.attn_backends[step].init_forward_metadata(batch)

    trapped = None
    with replaced(TritonMultiStepDraftBackend, "init_forward_metadata", make):
        bench = Bench(PROCESS, with_backend(find("smoke-eagle"), "triton"))
        try:
            bench.driver.run(lambda done, total: None, 10)
        except TrapError as error:
            trapped = [error.evidence.invariant, error.evidence.where]
        finally:
            bench.close()
    return {"trapped": trapped, "launches": bench.gpu.launches}


def main() -> None:
    spoilt = {name: play(*case) for name, case in CASES.items()}
    rows = {}
    if MODE != "log":  # which lets the kernel write past the row
        rows = {"narrow": narrow_row(True), "wide": narrow_row(False)}
    print(json.dumps({"spoilt": spoilt, "rows": rows}))


if __name__ == "__main__":
    main()
