"""What a TMA load does with a page id outside the cache: the experiment behind the id bands.

FlashInfer's host code gives the trtllm-gen kernels a tensor map whose page
extent is twice the pages of the cache. This measures what such a descriptor
does on the GPU at hand (sm_90 or later): N mapped pages with unmapped memory
behind them, an extent of 2N, and one load per id, each in a process of its own
because a fault ends the context. It says nothing about which ids a kernel
loads, only what a load does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

PAGES, PAGE_TOKENS, HEAD_DIM = 64, 64, 64

EXPECTED = {
    "0": "data",
    "N-1": "data",
    "N": "fault",
    "2N-1": "fault",
    "2N": "zeros",
    "-1": "zeros",
    "int32 max": "zeros",
}
"""The bands of `triage/dump/footprint.py`."""

_IDS = {
    "0": 0,
    "N-1": PAGES - 1,
    "N": PAGES,
    "2N-1": 2 * PAGES - 1,
    "2N": 2 * PAGES,
    "-1": -1,
    "int32 max": 2**31 - 1,
}


@dataclass(frozen=True, slots=True)
class Load:
    """One id: what was expected of the load, and what it did ("data", "zeros", "fault", ...)."""

    name: str
    page_id: int
    expected: str
    seen: str
    detail: str = ""


def measure(timeout_s: float = 120.0) -> list[Load]:
    """Load every id in a child process. Nothing is raised for a fault: it is the result."""
    return [_in_child(name, page_id, timeout_s) for name, page_id in _IDS.items()]


def _in_child(name: str, page_id: int, timeout_s: float) -> Load:
    command = [sys.executable, "-m", "triage.replay.tma_band", "--load", str(page_id)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return Load(name, page_id, EXPECTED[name], "hang", f"after {timeout_s:g} s")
    if done.returncode == 0:
        return Load(name, page_id, EXPECTED[name], done.stdout.split()[-1])
    lines = done.stderr.strip().splitlines()
    fault = next((line for line in lines if "illegal memory access" in line), "")
    reason = fault or (lines[-1] if lines else f"exit code {done.returncode}")
    return Load(name, page_id, EXPECTED[name], "fault" if fault else "error", reason[:200])


def load(page_id: int) -> str:
    """Load one page through a descriptor of extent 2N over N guarded pages, in this process."""
    import torch
    import triton
    import triton.language as tl
    from triton.tools.tensor_descriptor import TensorDescriptor

    from triage.replay.guarded_pool import GuardedPool, guards_available

    if not guards_available():
        raise SystemExit("needs CUDA and cuda-python, for the unmapped pages behind the cache")

    @triton.jit
    def load_page(descriptor, out_ptr, page_id, TOKENS: tl.constexpr, DIM: tl.constexpr):
        page = descriptor.load([page_id, 0, 0]).reshape(TOKENS, DIM)
        at = tl.arange(0, TOKENS)[:, None] * DIM + tl.arange(0, DIM)[None, :]
        tl.store(out_ptr + at, page)

    shape = (PAGES, 1, PAGE_TOKENS, HEAD_DIM)
    with GuardedPool(shape, torch.float16, fill=1.0) as pool:
        out = torch.full((PAGE_TOKENS, HEAD_DIM), 7.0, dtype=torch.float16, device="cuda")
        descriptor = TensorDescriptor(
            pool.k_cache,
            shape=[2 * PAGES, PAGE_TOKENS, HEAD_DIM],
            strides=[PAGE_TOKENS * HEAD_DIM, HEAD_DIM, 1],
            block_shape=[1, PAGE_TOKENS, HEAD_DIM],
        )
        load_page[(1,)](descriptor, out, page_id, TOKENS=PAGE_TOKENS, DIM=HEAD_DIM)
        torch.cuda.synchronize()
        values = out.unique().tolist()
    return {(1.0,): "data", (0.0,): "zeros"}.get(tuple(values), f"values:{values[:4]}")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--load"]:
        print(load(int(arguments[1])))
        return
    loads = measure()
    for each in loads:
        print(f"id {each.name:10} expected {each.expected:6} seen {each.seen:8} {each.detail}")
    if arguments[:1] == ["--json"]:
        Path(arguments[1]).write_text(json.dumps([asdict(each) for each in loads], indent=1))
    raise SystemExit(0 if all(each.seen == each.expected for each in loads) else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
