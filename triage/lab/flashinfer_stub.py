"""The line below which hardware is missing: a stand-in for FlashInfer's two trtllm-gen calls.

`StandInFlashInfer` puts modules named `flashinfer`, `flashinfer.decode` and
`flashinfer.prefill` where SGLang looks them up at call time. A call computes no
attention; it hands table, lengths, window and extents to the address emulator
and asks what a GPU would have done with them. It is a stub and says so in
`__doc__`, `__version__` and in every lab report.

The emulated fault is reported synchronously. A GPU reports it at some later
synchronisation, which is the reason this project exists.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from typing import Any

from triage.errors import TriageError


class EmulatedFault(TriageError):
    """The emulator says this launch would have been an illegal memory access."""


@dataclass(frozen=True, slots=True)
class InterceptedCall:
    """One intercepted FlashInfer call: its name and its arguments, all by keyword."""

    api: str
    arguments: dict[str, Any]


Sink = Callable[[InterceptedCall], Any]


class StandInFlashInfer:
    """Installs the stand-in modules and routes every call to `sink`."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.module = types.ModuleType("flashinfer", __doc__)
        self.module.__version__ = "0+stand-in"  # type: ignore[attr-defined]
        self.module.__path__ = []
        # As every module has one: who asks whether FlashInfer is here reads it.
        self.module.__spec__ = ModuleSpec("flashinfer", None, is_package=True)
        for name, api in (
            ("decode", "trtllm_batch_decode_with_kv_cache"),
            ("prefill", "trtllm_batch_context_with_kv_cache"),
        ):
            child = types.ModuleType(f"flashinfer.{name}", __doc__)
            setattr(child, api, self._entry(api))
            setattr(self.module, name, child)

    def _entry(self, api: str) -> Callable[..., Any]:
        def launch(**arguments: Any) -> Any:
            return self.sink(InterceptedCall(api, arguments))

        launch.__name__ = launch.__qualname__ = api
        launch.__doc__ = "Stand-in of the lab: emulates the addresses, computes no attention."
        return launch

    def install(self) -> None:
        """Become `flashinfer` for this process, and for SGLang's trtllm_mha backend.

        SGLang imports FlashInfer only where CUDA is there, so the backend module
        has no such name on a CPU; nothing of SGLang is overwritten.
        """
        import sglang.srt.layers.attention.trtllm_mha_backend as backend

        sys.modules["flashinfer"] = self.module
        sys.modules["flashinfer.decode"] = self.module.decode
        sys.modules["flashinfer.prefill"] = self.module.prefill
        backend.flashinfer = self.module
