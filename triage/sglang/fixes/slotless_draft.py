"""Fix `slotless-draft`: a frozen-KV draft's batch names no slots to write to.

The failure (0.5.14, sgl-project/sglang#29616): a frozen-KV draft writes no keys or values and
sets no `out_cache_loc`, so behind a prefill its batch has the target's, a slot for each prompt
token, until requests join or leave. What is copied from it is as long as the batch has
requests, or the largest graph: the server ends at `cuda_graph_swa_out_cache_loc` (trtllm_mha,
FlashInfer) with a prompt of more tokens than that graph has requests, and without a graph for
the draft in `fill_from`.

The rule: `out_cache_loc` is None in the batch that the draft runs, as upstream sets it. The
batch is made for the draft alone; the scheduler's keeps its slots. No sync, no device work.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from triage.sglang.binding.hooks import Hook
from triage.sglang.fixes.fix import Fix, Probe, already_fixed, needed, not_applicable

UTILS = "sglang.srt.speculative.frozen_kv_mtp_utils"
WORKER = "sglang.srt.speculative.frozen_kv_mtp_worker_v2"
CLASS = "FrozenKVMTPDraftWorker"
METHODS = ("draft", "_position_for_batch", "_set_positions", "_expand_for_topk_draft")
PROMPT = 3


class SlotlessDraft(Fix):
    name = "slotless-draft"
    what = "a frozen-KV draft's batch names no slots to write to: it had the prefill's"

    @staticmethod
    def probe() -> Probe:
        """See which slots SGLang's `draft` hands to its graph runner."""
        if not worker_methods():
            return not_applicable(f"this SGLang has no {CLASS}")
        handed = slots_of_the_draft()
        if handed is None:
            return already_fixed("the draft's batch names no slots to write to")
        return needed(f"the draft of 1 request is handed {len(handed)} slots of its prefill")

    def hooks(self) -> list[Hook]:
        return [Hook(f"{UTILS}.expand_for_topk_draft", self._around, f"fix {self.name}")]

    def _around(self, original: Any, forward_batch: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(forward_batch, *args, **kwargs)
        if self.armed and getattr(forward_batch, "out_cache_loc", None) is not None:
            self.uses += 1
            forward_batch.out_cache_loc = None
        return result


def worker_methods() -> list[ast.stmt]:
    """`METHODS` of SGLang's draft worker as its file has them; none where it has no such class.

    Read, not imported: the worker's module takes a GPU's packages with it.
    """
    found = importlib.util.find_spec(WORKER)
    if found is None or found.origin is None:
        return []
    body = ast.parse(Path(found.origin).read_text(encoding="utf-8")).body
    classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name == CLASS]
    return [
        node
        for cls in classes
        for node in cls.body
        if isinstance(node, ast.FunctionDef) and node.name in METHODS
    ]


def slots_of_the_draft() -> Any:
    """The `out_cache_loc` that SGLang's `draft` hands to its graph runner behind a prefill.

    One request of `PROMPT` tokens, on the CPU. Stand-ins: the runner, which notes the batch
    and ends the draft, and the copy of the scheduler's batch for a model.
    """
    from sglang.srt.model_executor.forward_batch_info import CaptureHiddenMode
    from sglang.srt.speculative import frozen_kv_mtp_utils as utils
    from sglang.srt.speculative.frozen_kv_mtp_info import FrozenKVMTPDraftInput

    def init_new(batch: Any, _runner: Any, **_: Any) -> Any:
        return SimpleNamespace(**vars(batch), capture_hidden_mode=CaptureHiddenMode.LAST)

    scope = {
        **{name: getattr(utils, name) for name in vars(utils) if not name.startswith("__")},
        "torch": torch,
        "CaptureHiddenMode": CaptureHiddenMode,
        "FrozenKVMTPDraftInput": FrozenKVMTPDraftInput,
        "ForwardBatch": SimpleNamespace(init_new=init_new),
    }
    methods = ast.Module(worker_methods(), type_ignores=[])
    exec(compile(methods, WORKER, "exec"), scope)  # annotations unread, as this file's are
    runner = _Runner()
    worker = type("Worker", (), {name: scope[name] for name in METHODS})()
    vars(worker).update(topk=1, cuda_graph_runner=runner, draft_model_runner=None)
    lengths = torch.full((1,), PROMPT, dtype=torch.int64)
    batch = SimpleNamespace(
        forward_mode=SimpleNamespace(is_idle=lambda: False),
        spec_info=FrozenKVMTPDraftInput(),
        batch_size=1,
        seq_lens=lengths,
        seq_lens_cpu=lengths,
        positions=None,
        out_cache_loc=torch.arange(1, PROMPT + 1),
    )
    try:
        worker.draft(batch)
    except _Handed as ended:
        return ended.args[0]
    raise TypeError("the draft asks no graph runner")


class _Handed(Exception):
    """Ends a draft with what its runner was handed."""


class _Runner:
    def can_run_graph(self, _batch: Any) -> bool:
        return True

    def execute(self, batch: Any) -> None:
        raise _Handed(batch.out_cache_loc)
