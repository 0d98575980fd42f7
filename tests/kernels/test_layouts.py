"""Bits that do not depend on a stride, shown without a GPU: one order of summation."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from triage_kernels.core.alignment import aligned, is_aligned, written_back
from triage_kernels.core.heads import head_plan
from triage_kernels.core.plans import PLANS
from triage_kernels.perf.tune import Trial, best_plans, shapes, tiles

COMPILED = (
    "gemma_qkv_rmsnorm",
    "gemma_attention_preamble",
    "gemma4_fused_routing",
    "gemma_routing_post_topk",
)


def test_a_row_is_summed_in_one_order_whatever_the_stride() -> None:
    # GIVEN ops called on packed rows, and on rows 16 and 3 elements apart
    # The interpreter's choice is per process, so this one is not ours.
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "HOME": "/tmp"}
    run = subprocess.run(
        [sys.executable, "-m", "triage_kernels.perf.layouts", *COMPILED],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    # WHEN each is compiled THEN its reductions lie on the threads alike
    seen: dict[tuple[str, str], set[str]] = {}
    for line in run.stdout.splitlines():
        record = json.loads(line)
        assert "RowLayout" in record["layouts"], record
        seen.setdefault((record["op"], record["dtype"]), set()).add(record["layouts"])
    assert len(seen) == 2 * len(COMPILED)
    assert {key: layouts for key, layouts in seen.items() if len(layouts) > 1} == {}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("parts", [1, 2], ids=["whole heads", "halves"])
@pytest.mark.parametrize("head_dim", [256, 512])
def test_a_head_has_threads_of_its_own(head_dim: int, parts: int, dtype: torch.dtype) -> None:
    plan = head_plan(head_dim, dtype, parts)
    # One 16-byte load per thread, no thread without one, no warp over less than a head.
    threads = head_dim // parts * dtype.itemsize // 16
    assert 32 <= plan.num_warps * 32 <= plan.units * threads
    assert plan.num_warps * 32 >= threads


def test_rows_that_triton_would_specialise_otherwise_are_copied() -> None:
    whole = torch.arange(4 * 96.0).view(4, 96)
    assert aligned(whole) is whole
    sixteen_apart, three_apart, shifted = whole[:, :80], whole[:, :93], whole[:, 3:83]
    assert aligned(sixteen_apart) is sixteen_apart
    for odd in (three_apart, shifted):
        copy = aligned(odd)
        assert is_aligned(copy)
        assert torch.equal(copy, odd)


def test_what_was_written_to_a_copy_reaches_the_caller() -> None:
    whole = torch.zeros(4, 96)
    view = whole[:, 3:83]
    work = aligned(view)
    work.fill_(1.0)
    assert written_back(work, view) is view
    assert whole.sum() == 4 * 80


def test_every_width_of_the_models_is_tuned_with_its_ops() -> None:
    assert {"256", "1536", "2560", "2816", "3840", "5376", "heads", "preamble"} == set(shapes())
    assert all(members and tiles(group) for group, members in shapes().items())


def test_a_width_gets_the_tile_whose_worst_op_is_best() -> None:
    # GIVEN a tile good for one op and bad for another, one fair for both, one half measured
    shares = {(1, 512, 4): (0.99, 0.70), (1, 1024, 4): (0.93, 0.92), (2, 1024, 8): (1.0,)}
    trials = [
        Trial("2816", f"op {number}", "26B-A4B", 8192, tile, 30.0, share)
        for tile, of_copy in shares.items()
        for number, share in enumerate(of_copy)
    ]
    # WHEN THEN
    assert best_plans(trials)["rows"]["2816"] == [1, 1024, 4]
    assert best_plans(trials)["heads"] == PLANS["heads"]


def test_every_kernel_compiles_as_it_is_launched_for_many_rows_and_for_few() -> None:
    # The interpreter accepts what the compiler does not; its choice is per process.
    program = (
        "import torch\n"
        "from triage_kernels.perf.aot import compile_launch, launches\n"
        "from triage_kernels.validate.registry import OURS\n"
        "for spec in OURS:\n"
        "    for launch in launches(spec, spec.cases[0].dims, torch.bfloat16):\n"
        "        assert '.f64' not in compile_launch(launch, 90).asm['ptx'], spec.name\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "HOME": "/tmp"}
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr[-2000:]
