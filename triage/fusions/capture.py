"""Write what TorchInductor makes of Gemma-4 layers, as a file that `triage fusions` reads.

`python -m triage.fusions.capture --into DIR` compiles a dense layer, one with experts and
one with per-layer inputs, two of each in a row, and writes their `output_code.py`. Nothing
is run or timed. Targets:

- `triton`: the kernels that Inductor writes for a GPU, without one. Its CPU backend is told
  to write Triton, and the Triton driver that it asks for an architecture is a stand-in
  (`NamedTarget`); what is generated is not compiled.
- `cpp`: its C++ kernels for a CPU, compiled, as a default run makes them.
- `cuda`: as `triton`, by the real backend on the GPU of this machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from triage.fusions.layers import KINDS, Stack, arguments, declare_operators

TARGETS = ("triton", "cpp", "cuda")


class NamedTarget:
    """Stands in for Triton's driver: names an H200 and can launch nothing."""

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_active_torch_device(self) -> Any:
        import torch

        return torch.device("cpu")


class _GeneratedError(BaseException):
    """Ends a compilation once its code is written."""


def capture(
    kind: str, target: str = "triton", tokens: int = 16, layers: int = 2, hidden: int | None = None
) -> str:
    """The code that Inductor generates for `layers` layers of a kind, in bf16.

    Args:
        hidden: width of a row instead of the model's, for a test that should be quick.
    Cost: some seconds; `cpp` compiles every kernel.
    """
    import torch
    from torch._inductor.graph import GraphLowering

    declare_operators()
    torch._dynamo.reset()
    device = "cuda" if target == "cuda" else "cpu"
    with torch.device(device):
        model = Stack(kind, layers, 512, hidden).to(torch.bfloat16).eval()
    given = arguments(kind, tokens, layers, hidden, dtype=torch.bfloat16, device=device)
    codes: list[str] = []

    def keep(graph: Any) -> None:
        code, _ = graph.codegen()
        codes.append(getattr(code, "value", code))
        raise _GeneratedError

    settings: dict[str, Any] = {"fx_graph_cache": False}
    if target == "triton":
        import triton

        before = triton.runtime.driver._active
        triton.runtime.driver.set_active(NamedTarget())
        settings["cpu_backend"] = "triton"
    compiled = torch.compile(model, dynamic=False, fullgraph=True)
    with (
        torch.no_grad(),
        torch._inductor.config.patch(settings),
        mock.patch.object(GraphLowering, "compile_to_module", keep),
    ):
        try:
            compiled(*given)
        except _GeneratedError:
            pass
        finally:
            if target == "triton":
                triton.runtime.driver._active = before
    return "\n".join(codes)


def main(arguments_: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--target", choices=TARGETS, default="triton")
    parser.add_argument("--kind", choices=tuple(KINDS), action="append")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--hidden", type=int)
    options = parser.parse_args(arguments_)
    for kind in options.kind or KINDS:
        folder = options.into / kind
        folder.mkdir(parents=True, exist_ok=True)
        code = capture(kind, options.target, options.tokens, hidden=options.hidden)
        (folder / "output_code.py").write_text(code)
        sys.stdout.write(f"wrote {folder / 'output_code.py'}\n")


if __name__ == "__main__":
    main()
