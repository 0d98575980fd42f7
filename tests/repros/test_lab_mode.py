"""Every reproducer is run in the lab, in its smallest form: it must reproduce its failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from triage.lab import versions

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "repros").glob("*.sh"))
NEEDS = {
    "eagle_draft_pool": ("0.5.12.post1", "0.5.13.post1"),
    "frozen_kv_eager_draft": ("0.5.14",),
    "frozen_kv_graph_draft": ("0.5.14",),
    "frozen_kv_hybrid_backend": ("0.5.23",),
    "gemma4_e2b_kv_shared_graph": ("0.5.12.post1", "0.5.13.post1"),
}
SHOWS = {
    "allocator_vs_backend": "none on triton, and the allocator returned no illegal slot",
    "clamp_vs_swap": "of in-window reads redirected",
    "eagle_draft_pool": "with draft-own-pool every table equals that of 0.5.13.post1",
    "frozen_kv_eager_draft": "output with shape [1] doesn't match the broadcast shape [3]",
    "frozen_kv_graph_draft": "The size of tensor a (2) must match the size of tensor b (3)",
    "frozen_kv_hybrid_backend": "with the patch they are lent the target's",
    "gemma4_26b_oob": "with state-swap every table equals",
    "gemma4_31b_swa_ratio": "the SWA pool of the dense variant is the limit",
    "gemma4_e2b_kv_shared_graph": "layer 24 of 42 fails",
    "gemma4_e4b_oob": "with state-swap every table equals",
}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_reproduces_its_failure_and_keeps_what_it_saw(tmp_path, script):
    missing = [v for v in NEEDS.get(script.stem, ()) if v not in versions.available()]
    if missing:
        pytest.skip(f"SGLang {', '.join(missing)} not unpacked beside the installed one")
    done = subprocess.run(
        ["bash", str(script), "--lab", "--quick", "--dir", str(tmp_path)],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-2000:]
    assert SHOWS[script.stem] in done.stdout
    assert "REPRODUCED: " in done.stdout
    assert list(tmp_path.glob("*.log"))
