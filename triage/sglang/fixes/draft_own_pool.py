"""Fix `draft-own-pool`: a draft with a KV pool of its own is not translated for the target's.

The failure (sgl-project/sglang#25103, #27491): a backend that takes its SWA state from
the allocator alone does so for an EAGLE-style draft too. The draft shares the target's
allocator for bookkeeping, but its keys and values lie in a pool of its own, addressed by
full-pool slots. The translation sends its writes and reads to SWA slots of that pool:
right by luck while the mapping holds, the dummy page or another request's page as soon
as the window has moved on.

The rule: a backend of a draft worker whose pool is not hybrid, and which does not borrow
the target's pool (frozen-KV MTP does), keeps no SWA state.
"""

from __future__ import annotations

from typing import Any

from triage.sglang.binding.hooks import Hook
from triage.sglang.fixes.construction import Draft
from triage.sglang.fixes.fix import Fix, Probe, already_fixed, needed
from triage.sglang.launch.pools import is_hybrid

BACKEND = "sglang.srt.layers.attention.trtllm_mha_backend.TRTLLMHAAttnBackend"
NO_SWA_STATE = {
    "_swa_kv_pool": None,
    "use_sliding_window_kv_pool": False,
    "_swa_full_to_swa_mapping": None,
}


class DraftOwnPool(Fix):
    name = "draft-own-pool"
    what = "an EAGLE draft with a pool of its own is not translated through the target's mapping"

    @staticmethod
    def probe() -> Probe:
        draft = Draft("EAGLE")
        if draft.swa_pool() is None:
            return already_fixed("the backend of a draft with its own pool keeps no SWA state")
        return needed(
            "the backend of an EAGLE draft with its own pool takes SWA state from the allocator"
        )

    def hooks(self) -> list[Hook]:
        return [Hook(f"{BACKEND}.__init__", self.around_init, f"fix {self.name}")]

    def around_init(
        self, original: Any, backend: Any, model_runner: Any, *args: Any, **kwargs: Any
    ) -> Any:
        original(backend, model_runner, *args, **kwargs)
        if self.armed and owns_its_pool(model_runner) and backend._swa_kv_pool is not None:
            self.uses += 1
            for name, value in NO_SWA_STATE.items():
                if hasattr(backend, name):
                    setattr(backend, name, value)


def owns_its_pool(model_runner: Any) -> bool:
    """Is this a draft worker that reads and writes a plain KV pool of its own?"""
    if not getattr(model_runner, "is_draft_worker", False):
        return False
    if is_hybrid(model_runner.token_to_kv_pool):
        return False
    algorithm = getattr(model_runner, "spec_algorithm", None)
    return algorithm is None or not algorithm.is_frozen_kv_mtp()
