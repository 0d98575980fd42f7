"""One fused op at a time: is it on, does it take these tensors, and what became of it.

What is not eligible is counted with the reason in `fallbacks` and computed as SGLang does:
tensors that are not two-dimensional floats with packed rows, norms with a shift, norms of one
op with different epsilons, and whatever a kernel's own contract refuses. Both counts are said
in the server's log, at the first and then at every tenfold call: a replay of a CUDA graph
calls nobody, so what is counted is eager calls and those of a capture.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from triage.device.capture import capturing
from triage.sglang.binding.shell import Shells
from triage.sglang.fixes.fused_ops import eps

logger = logging.getLogger("triage")

_FLOATS = (torch.bfloat16, torch.float16, torch.float32)
ONE_EPSILON = {"post-attn-triple": 4, "moe-tail-next-norm": 3}
"""Ops whose kernel takes one epsilon for so many of its norms."""


class Calls:
    """The ops that are on. `uses` and `fallbacks` count layers by op, and by op and reason."""

    def __init__(self, ops: frozenset[str], shells: Shells) -> None:
        self.ops = ops
        self.shells = {name: shells.of(f"fused op {name}") for name in sorted(ops)}
        self.uses: Counter[str] = Counter()
        self.captured: Counter[str] = Counter()
        self.fallbacks: Counter[tuple[str, str]] = Counter()

    def take_op(
        self,
        op: str,
        kernel: Callable[..., Any],
        norms: tuple[Any, ...],
        tensors: tuple[Tensor, ...],
        *rest: Any,
    ) -> Any:
        """`kernel(norms, tensors, ...)`; None where SGLang's own steps are to be taken.

        They are where the op is not on, not eligible, or fails: the op's own shell.
        """
        shell = self.shells.get(op)
        if op not in self.ops or shell is None or not shell.on:
            return None
        try:
            if not self._takes(op, norms, tensors):
                return None
            found = kernel(norms, tensors, *rest)
            self.used(op)
        except Exception as error:  # the op's own shell: SGLang's steps are taken
            if not self.refused_by_contract(op, error):
                shell.failed(error)
            return None
        return found

    def refused_by_contract(self, op: str, error: Exception) -> bool:
        """Was nothing launched, since the kernel does not promise for such a call? Counted."""
        from triage_kernels.core.errors import ContractError

        if isinstance(error, ContractError):
            self.fall_back(op, str(error))
        return isinstance(error, ContractError)

    def used(self, op: str) -> None:
        """Count a call and say so at the first and every tenfold one. Host only."""
        self.uses[op] += 1
        if capturing():
            self.captured[op] += 1
        if _tenfold(self.uses[op]):
            logger.info(
                "sglang-triage fused op %s: in use, %d calls so far, %d of them in a capture",
                op,
                self.uses[op],
                self.captured[op],
            )

    def fall_back(self, op: str, reason: str) -> bool:
        """Count a call that is SGLang's and say so likewise; always False."""
        self.fallbacks[op, reason] += 1
        if _tenfold(self.fallbacks[op, reason]):
            logger.info(
                "sglang-triage fused op %s: left to SGLang in %d calls so far: %s",
                op,
                self.fallbacks[op, reason],
                reason,
            )
        return False

    def refused(self, op: str, *tensors: Tensor) -> bool:
        """Is one of these no packed rows of one float dtype on a GPU? Counted with the reason."""
        from triage_kernels.core.interpreter import interpreting

        for tensor in tensors:
            reason = ""
            if tensor.dim() != 2:
                reason = f"{tensor.dim()} dimensions"
            elif tensor.dtype not in _FLOATS or tensor.dtype != tensors[0].dtype:
                reason = f"dtype {tensor.dtype}"
            elif tensor.stride(-1) != 1:
                reason = "rows are not packed"
            elif not (tensor.is_cuda or (tensor.device.type == "cpu" and interpreting())):
                reason = f"device {tensor.device.type}"
            if reason:
                return not self.fall_back(op, reason)
        return False

    def _takes(self, op: str, norms: tuple[Any, ...], tensors: tuple[Tensor, ...]) -> bool:
        if any(getattr(norm, "scale_shift", 0.0) for norm in norms):
            return self.fall_back(op, "a norm has a shift")
        one = norms[: ONE_EPSILON.get(op, 1)]
        if len({eps(norm) for norm in one}) > 1:
            return self.fall_back(op, "the norms have different epsilons")
        return not self.refused(op, *tensors)


def _tenfold(count: int) -> bool:
    """1, 10, 100, ..."""
    while count % 10 == 0 and count > 1:
        count //= 10
    return count == 1
