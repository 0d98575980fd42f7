"""Write what TorchInductor makes of Gemma-4 layers, as a file that `triage fusions` reads.

`python -m triage.fusions.capture --into DIR` compiles a dense layer, one with experts and
one with per-layer inputs, two of each in a row, and writes their `output_code.py`. Nothing
is timed. With `--device cuda` the kernels are Triton's and a GPU is needed; on a CPU they
are C++, which takes a compiler.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from triage.fusions.layers import KINDS, Stack, arguments, declare_operators


def capture(
    kind: str, device: str = "cpu", tokens: int = 16, layers: int = 2, hidden: int | None = None
) -> str:
    """The code that Inductor generates for `layers` layers of a kind, in bf16.

    Args:
        hidden: width of a row instead of the model's, for a test that should be quick.
    Cost: some seconds per layer: everything is compiled, nothing is run.
    """
    import torch
    from torch._inductor.utils import run_and_get_code

    declare_operators()
    torch._dynamo.reset()
    place = {"dtype": torch.bfloat16, "device": device}
    with torch.device(device):
        model = Stack(kind, layers, 512, hidden).to(torch.bfloat16).eval()
    given = arguments(kind, tokens, layers, hidden, **place)
    with torch.no_grad(), torch._inductor.config.patch(fx_graph_cache=False):
        _, codes = run_and_get_code(torch.compile(model, dynamic=False, fullgraph=True), *given)
    return "\n".join(codes)


def main(arguments_: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--kind", choices=tuple(KINDS), action="append")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--hidden", type=int)
    options = parser.parse_args(arguments_)
    for kind in options.kind or KINDS:
        folder = options.into / kind
        folder.mkdir(parents=True, exist_ok=True)
        code = capture(kind, options.device, options.tokens, hidden=options.hidden)
        (folder / "output_code.py").write_text(code)
        sys.stdout.write(f"wrote {folder / 'output_code.py'}\n")


if __name__ == "__main__":
    main()
