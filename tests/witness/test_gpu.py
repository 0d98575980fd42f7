"""I28 on a real GPU: right launches are silent, a misplaced row is told, eager and in a graph."""

from __future__ import annotations

import pytest
import torch

from triage.bench import gpu_witness

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("form", gpu_witness.forms(False), ids=lambda form: form[0])
def test_the_witness_on_a_gpu(form):
    _, cache, window, queries = form
    rig = gpu_witness.Rig(cache, window, queries)
    # GIVEN a right kernel, THEN silence, eager and in a graph, and no wait while it is queued
    assert [rig.eager(gpu_witness.torch_kernel) for _ in range(4)] == [""] * 4
    assert rig.in_graph(gpu_witness.torch_kernel) == ""
    assert rig.witness.rows >= 20 and rig.witness.nearest < 1
    assert not rig.traps.reporter.shells.failures
    # GIVEN one that misplaces a row, THEN it is told
    wrong = gpu_witness.misplaced(gpu_witness.torch_kernel)
    assert "out[row 2" in gpu_witness.Rig(cache, window, queries).in_graph(wrong)
