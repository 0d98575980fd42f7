"""Captures forwards of SGLang's Triton, FA3 and FlashInfer backends, replays what was recorded.

Prints JSON.

    python -m tests.sglang.capture_backends_child DIRECTORY MODE

Stubs, below the missing hardware: the capture (two warm-ups, then once with the predicate of
`triage/device/capture.py` true, in which a read of the device by our code raises) and the
kernels. A replay calls again what the capture recorded of ours, with the very same tensors, as
a graph would; between the two SGLang's own `init_forward_metadata_out_graph` refills them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from triage.lab.backends import bind_index_plan
from triage.lab.pretended_capture import pretended_capture
from triage.lab.process import start

BATCH, DRAFT_TOKENS, STEPS = 2, 4, 3
LENGTHS = (20, 33)


class Recorder:
    """What of our kernels was launched, and what of it under the capture."""

    def __init__(self) -> None:
        self.capturing = False
        self.recorded: list[tuple[Any, ...]] = []
        self.warm = 0

    def listen(self) -> None:
        import triage.device.capture
        from triage.device.checker import DeviceChecker
        from triage.lab.patching import replaced

        triage.device.capture.capturing = lambda: self.capturing

        def note(original: Any) -> Any:
            def around(*args: Any, **kwargs: Any) -> Any:
                if self.capturing:
                    self.recorded.append((original, args, kwargs))
                else:
                    self.warm += 1
                return original(*args, **kwargs)

            return around

        self.held = [
            replaced(DeviceChecker, "check_packed_slots", note),
            replaced(DeviceChecker, "check_table", note),
        ]
        for each in self.held:
            each.__enter__()

    def capture(self, run_once: Any) -> None:
        run_once()
        run_once()
        self.capturing = True
        try:
            with pretended_capture():
                run_once()
        finally:
            self.capturing = False

    def replay(self, checker: Any) -> dict[str, int]:
        """Offenders by invariant."""
        checker.mark(1)
        checker.poll(wait=True)
        for original, args, kwargs in self.recorded:
            original(*args, **kwargs)
        checker.mark(2)
        (report,) = checker.poll(wait=True)
        return dict(report.counts)


def requests(runtime: Any) -> None:
    """Two requests whose pages lie one behind the other, in both pools at the same places."""
    page = runtime.geometry.page_size
    table = runtime.req_to_token_pool.req_to_token
    room = -(-(max(LENGTHS) + DRAFT_TOKENS + STEPS) // page) * page
    for row in range(BATCH):
        table[row + 1, :room] = torch.arange(room) + page + row * room
    mapping = runtime.token_to_kv_pool.full_to_swa_index_mapping
    used = page + BATCH * room
    mapping[:used] = torch.arange(used)


def captured_batch(mode: str, spec: Any) -> Any:
    from sglang.srt.model_executor.forward_batch_info import ForwardBatch, ForwardMode

    width = DRAFT_TOKENS if mode == "TARGET_VERIFY" else 1
    return ForwardBatch(
        forward_mode=ForwardMode[mode],
        batch_size=BATCH,
        input_ids=torch.zeros(BATCH * width, dtype=torch.int64),
        req_pool_indices=torch.zeros(BATCH, dtype=torch.int64),
        seq_lens=torch.ones(BATCH, dtype=torch.int64),
        seq_lens_cpu=torch.ones(BATCH, dtype=torch.int64),
        out_cache_loc=torch.zeros(BATCH * width, dtype=torch.int64),
        seq_lens_sum=BATCH,
        positions=torch.zeros(BATCH * width, dtype=torch.int64),
        spec_info=spec,
    )


def refill(backend: Any, batch: Any) -> None:
    """A replay's inputs: the same tensors, two real requests."""
    batch.req_pool_indices.copy_(torch.arange(BATCH) + 1)
    batch.seq_lens.copy_(torch.tensor(LENGTHS))
    batch.seq_lens_cpu.copy_(torch.tensor(LENGTHS))
    batch.seq_lens_sum = sum(LENGTHS)
    batch.positions.copy_(torch.tensor(LENGTHS).repeat_interleave(len(batch.positions) // BATCH))
    plan(backend, batch)
    backend.init_forward_metadata_out_graph(batch, in_capture=False)


def plan(backend: Any, batch: Any) -> None:
    """What `ForwardBatch.init_new` does last, from 0.5.23 on."""
    for each in getattr(backend, "attn_backends", [backend]):
        bind_index_plan(each, batch)


def play(recorder: Recorder, kind: str, form: str) -> dict[str, Any]:
    from triage.lab.runtime import Runtime
    from triage.lab.scenarios import find
    from triage.sglang.install import state

    draft = "none" if form == "decode" else "eagle"
    runtime = Runtime(
        find("smoke").geometry,
        draft_tokens=DRAFT_TOKENS,
        draft_steps=STEPS,
        draft=draft,
        backend=kind,
    )
    runtime.reads = lambda read: None
    recorder.recorded, recorder.warm = [], 0
    rows = torch.zeros(BATCH * (DRAFT_TOKENS if form == "verify" else 1), 1, 8, dtype=torch.float16)
    if form == "steps":
        from sglang.srt.speculative.eagle_info import EagleDraftInput

        backend, batch = runtime.draft_backend, captured_batch("DECODE", EagleDraftInput())
        layers = runtime.draft_attention
    else:
        backend = runtime.target_backend
        verifies = SimpleNamespace(
            custom_mask=None, draft_token_num=DRAFT_TOKENS, num_tokens_per_req=DRAFT_TOKENS
        )
        mode = "TARGET_VERIFY" if form == "verify" else "DECODE"
        batch = captured_batch(mode, verifies if form == "verify" else None)
        layers = runtime.layers

    def run_once() -> None:
        backend.init_forward_metadata_in_graph(batch)
        inner = backend.attn_backends if form == "steps" else [backend]
        for each in inner:
            forward = each.forward_extend if form == "verify" else each.forward_decode
            for index, layer in enumerate(layers):
                own = form == "steps" or index < runtime.geometry.own_kv_layers
                kv = rows if own else None
                forward(rows, kv, kv, layer, batch, save_kv_cache=own)

    try:
        backend.init_cuda_graph_state(BATCH, BATCH * DRAFT_TOKENS)
        plan(backend, batch)
        backend.init_forward_metadata_out_graph(batch, in_capture=True)
        recorder.capture(run_once)
        requests(runtime)
        refill(backend, batch)
        if hasattr(backend, "init_forward_metadata_in_graph"):
            backend.init_forward_metadata_in_graph(batch)
        checker = state().traps.launches.watching.watch.checker
        sound = recorder.replay(checker)
        spoil(backend, kind, form)
        spoilt = recorder.replay(checker)
    finally:
        runtime.close()
    return {
        "layers": len(layers),
        "recorded": len(recorder.recorded),
        "warm": recorder.warm,
        "sound": sound,
        "spoilt": spoilt,
    }


def spoil(backend: Any, kind: str, form: str) -> None:
    """Another token's slot, or page, where the graph will read."""
    if kind == "triton":
        slots = backend.cuda_graph_kv_indices
        slots = slots[0] if slots.dim() == 2 else slots
        slots[3] = slots[4]
    elif kind == "flashinfer":
        slots = backend.cuda_graph_kv_indices[1]
        slots[3] = slots[4]
    else:
        metadata = backend.forward_metadata
        metadata.page_table[0, 0] = metadata.page_table[1, 0]


def main() -> None:
    process = start(traps=True, fixes=(), directory=Path(sys.argv[1]), mode=sys.argv[2])
    recorder = Recorder()
    recorder.listen()
    answer = {}
    for kind, form in (
        ("triton", "decode"),
        ("triton", "verify"),
        ("triton", "steps"),
        ("fa3", "decode"),
        ("fa3", "verify"),
        ("flashinfer", "decode"),
    ):
        process.arm(traps=True, fixes=(), directory=Path(sys.argv[1]))
        answer[f"{kind} {form}"] = play(recorder, kind, form)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
