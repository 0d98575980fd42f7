"""SGLang 0.5.23: tables that are sorted and cut, or expanded, before the call; prints JSON.

The backend, its metadata and its forwards are SGLang's, driven by the lab. Below stands what
takes note of the tables it is given, and computes nothing.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from triage.errors import TrapError
from triage.lab.patching import replaced
from triage.lab.process import start
from triage.lab.rig import Bench
from triage.lab.scenarios import find

DIRECTORY, MODE = Path(sys.argv[1]), sys.argv[2]
PROCESS = start(traps=True, fixes=(), directory=DIRECTORY, mode=MODE)
GIVEN: list[torch.Size] = []


def expanded_prefill(qkv: Any, **passed: Any) -> torch.Tensor:
    """In the place of FlashInfer's `trtllm_fmha_v2_prefill`."""
    GIVEN.append(passed["block_tables"].shape)
    return torch.zeros_like(qkv[0])


def taken(call: Any) -> torch.Tensor:
    GIVEN.append(call.arguments["block_tables"].shape)
    return torch.zeros_like(call.arguments["query"])


def full_ids(original: Any) -> Any:
    """The sliding layers' table is the full one, as if nothing had translated it."""

    def init_forward_metadata(self: Any, forward_batch: Any) -> None:
        original(self, forward_batch)
        self.forward_metadata.swa_page_table = self.forward_metadata.page_table

    return init_forward_metadata


def play(which: str, defect: bool) -> dict[str, Any]:
    import flashinfer
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    flashinfer.prefill.trtllm_fmha_v2_prefill = expanded_prefill
    GIVEN.clear()
    PROCESS.arm(traps=True, fixes=(), directory=DIRECTORY)
    harm = replaced(TRTLLMHAAttnBackend, "init_forward_metadata", full_ids)
    trapped = None
    with harm if defect else nullcontext():
        bench = Bench(PROCESS, find("smoke-plain"))
        bench.gpu.launch = taken  # type: ignore[method-assign]
        backend = bench.runtime.target_backend
        if which == "sorted":
            backend.decode_seq_len_splits = 2
        elif which == "expanded":
            backend.use_fmha_v2 = True
            backend.fmha_v2_workspace_buffer = backend.workspace_buffer
        try:
            bench.driver.run(lambda done, total: None, 10)
        except TrapError as error:
            trapped = [type(error).__name__, error.evidence.invariant, error.evidence.pool]
        finally:
            bench.close()
    counts = PROCESS.traps.counts
    return {
        "trapped": trapped,
        "tables": counts["tables"],
        "launches": counts["launches"],
        "calls": len(GIVEN),
        "dimensions": sorted({len(shape) for shape in GIVEN}),
        "not identified": sum(PROCESS.traps.launches.watching.unidentified.values()),
    }


def main() -> None:
    answer = {
        f"{which}{', defect' if defect else ''}": play(which, defect)
        for which in ("as ever", "sorted", "expanded")
        for defect in (False, True)
    }
    print(json.dumps(answer))


main()
