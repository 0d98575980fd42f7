"""The hooks at SGLang's Triton backend and its FlashInfer backend (fa2).

Thin: each notes where it stands, asks `watching.py`, and goes on. A release or a machine
that has no such backend is told in `absent`, and costs nothing.
"""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Callable
from typing import Any

from triage.device import capture
from triage.errors import InstallError, TrapError
from triage.sglang.binding.hooks import Hook
from triage.sglang.binding.patches import Patch
from triage.sglang.launch.attention import GRAPH_ENTRIES, entry_of
from triage.sglang.packed_slots.capacity import draft_steps_fit, draft_sum_counts_all
from triage.sglang.packed_slots.watching import PackedSlotWatching

_ATTENTION = "sglang.srt.layers.attention"
BACKENDS = {
    "triton": f"{_ATTENTION}.triton_backend.TritonAttnBackend",
    "fa2": f"{_ATTENTION}.flashinfer_backend.FlashInferAttnBackend",
}
DRAFTS = {
    "triton": f"{_ATTENTION}.triton_backend.TritonMultiStepDraftBackend",
    "fa2": f"{_ATTENTION}.flashinfer_backend.FlashInferMultiStepDraftBackend",
}


class PackedSlotHooks:
    """The hooks of one process. `absent`: backend -> why it cannot be watched here."""

    def __init__(self, watching: PackedSlotWatching) -> None:
        self.watching = watching
        self.launches = watching.launches
        self.shell = watching.reporter.launch_shell
        self.absent: dict[str, str] = {}
        self._here = {kind: found for kind, path in BACKENDS.items() if (found := self._find(path))}

    def _find(self, path: str) -> Any:
        try:
            return pkgutil.resolve_name(path)
        except Exception as error:  # another backend's package, with natives of its own
            self.absent[f"{path}.__init__"] = f"its launches: {type(error).__name__}: {error}"
            return None

    @property
    def not_covered(self) -> dict[str, str]:
        """What of these launches is not judged, and why; grows while the server runs."""
        covered = self.watching.not_covered.items()
        return {**self.absent, **{why: f"{n} launches" for why, n in covered}}

    def hooks(self) -> list[Hook]:
        found = []
        for kind, backend in self._here.items():
            path = BACKENDS[kind]
            found.append(Hook(f"{path}.__init__", self.constructed, "what a backend was built for"))
            found.append(Hook(f"{path}.init_forward_metadata", self.built, "slots are new"))
            found += [
                Hook(f"{path}.{entry}", self.built_for_graph, "a graph's slots are new")
                for entry in GRAPH_ENTRIES
                if entry in vars(backend)
            ]
            try:
                pkgutil.resolve_name(DRAFTS[kind])
            except AttributeError:
                continue
            found.append(Hook(f"{DRAFTS[kind]}.__init__", self.drafts, "the steps of a draft"))
            found.append(
                Hook(
                    f"{DRAFTS[kind]}.common_template", self.packed, "a draft's slots fit (I13, I29)"
                )
            )
        return found

    def patches(self) -> list[Patch]:
        why = "the slots of a launch"
        return [
            Patch(f"{BACKENDS[kind]}.{name}", self.entered(kind), why)
            for kind in self._here
            for name in ("forward_decode", "forward_extend")
        ]

    def entered(self, kind: str) -> Callable[[Any], Any]:
        """Makes the wrapper of a backend's forward."""

        def around(original: Any) -> Any:
            hot, watching = self.launches.hot, self.watching

            @functools.wraps(original)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                if not hot.armed:
                    return original(*args, **kwargs)
                try:
                    hot.other_forward = watching.entered(kind, *entry_of(args, kwargs))
                except TrapError:
                    raise
                except Exception as error:
                    self.shell.failed(error)
                try:
                    return original(*args, **kwargs)
                finally:
                    hot.other_forward = None

            return wrapper

        return around

    def constructed(
        self, original: Any, backend: Any, model_runner: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Takes the checker's memory, unless trtllm_mha, which builds on FlashInfer's, did."""
        result = original(backend, model_runner, *args, **kwargs)
        if self.launches.hot.armed and self._ours(backend):
            self.launches.note_backend(backend, model_runner)
            page = int(getattr(model_runner, "page_size", 1) or 1)
            table = model_runner.req_to_token_pool.req_to_token
            try:
                self.launches.watching.prepare(backend, table, page)
                self.watching.take_memory(table)
            except InstallError as error:  # trtllm_mha's own backend ends a start for that
                self.absent[type(backend).__name__] = str(error)
        return result

    def built(self, original: Any, backend: Any, forward_batch: Any, *args: Any, **kw: Any) -> Any:
        if self.launches.hot.armed and self._ours(backend):
            launches = forward_batch.batch_size > 0
            self.watching.metadata_built(backend, graph=False, launches=launches)
        return original(backend, forward_batch, *args, **kw)

    def built_for_graph(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        if self.launches.hot.armed and self._ours(backend):
            self.watching.metadata_built(backend, graph=True)
        return original(backend, *args, **kwargs)

    def drafts(self, original: Any, multi: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(multi, *args, **kwargs)
        for step, backend in enumerate(getattr(multi, "attn_backends", ())):
            self.watching.note_step(backend, step)
        return result

    def packed(self, original: Any, multi: Any, *args: Any, **kwargs: Any) -> Any:
        """At `common_template(self, forward_batch, kv_indices_buffer, call_fn, ...)`."""
        batch = args[0] if args else kwargs.get("forward_batch")
        if self.launches.hot.armed and batch is not None:
            buffer = args[1] if len(args) > 1 else kwargs.get("kv_indices_buffer")
            self._pack(multi, batch, buffer)
        return original(multi, *args, **kwargs)

    def _pack(self, multi: Any, batch: Any, buffer: Any) -> None:
        """The sum is logged unless I29 is asked for: releases up to 0.5.13 replay with a short one,
        and what it cuts off belongs to padded rows."""
        reporter = self.watching.reporter
        found = draft_steps_fit(multi, batch, buffer) if "I13" in reporter.enabled else None
        if found is not None:
            reporter.fire_event(found)
        if capture.capturing():  # lengths of a capture are nobody's, and nothing is read there
            return
        found = draft_sum_counts_all(multi, batch) if "I29" in reporter.enabled else None
        if found is None:
            return
        if reporter.whole("I29"):
            reporter.fire_event(found)
        elif not self.watching.sum_told:
            self.watching.sum_told = True
            reporter.log_event(found)

    @staticmethod
    def _ours(backend: Any) -> bool:
        """trtllm_mha inherits from FlashInfer's backend, and calls what it overrides."""
        return not any(kind.__name__ == "TRTLLMHAAttnBackend" for kind in type(backend).__mro__)
