"""Nothing of ours mixes a GPU's tensor with one of the host, as far as a CPU can tell.

On an H200 the check of the radix tree failed at its first tree, and the ledger with it: marks
made on the host were indexed with slots of the GPU.
"""

from __future__ import annotations

import json

import pytest
import torch

from tests import prepared
from tests.mixed_devices import GPU, HOST, MixedDevices, on_gpu, side

HERE = "/tests/"


def test_a_mixture_is_noted_with_its_place_and_what_is_not_known_is_not():
    with MixedDevices(ours=HERE, not_ours="nowhere") as mode:
        host = torch.tensor([1, 0])
        moved = host.to("cpu")
        theirs = on_gpu([0, 1])
        assert (side(host), side(moved), side(theirs + 1)) == (HOST, "", GPU)
        _ = moved + theirs, theirs[host], theirs + torch.tensor(1), theirs.cpu() + host
        assert mode.found == []
        _ = host[theirs]
    (noted,) = mode.found
    assert "test_mixed_devices.py" in noted and noted.endswith("__getitem__")


@pytest.mark.skipif(not __import__("importlib").util.find_spec("sglang"), reason="needs SGLang")
@pytest.mark.parametrize(
    "workloads",
    [
        ("shared-prefix-freed-at-retract", "aborted-in-flight"),
        pytest.param(
            ("load-back-comes-short", "write-slots-of-the-last-verify", "eagle-draft-translated"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda names: names[0],
)
def test_no_check_mixes_devices_in_a_sound_workload(tmp_path, workloads):
    command = ("-m", "tests.lab.mixed_devices_child", tmp_path, *workloads)
    ran = prepared.python(*command, timeout=500)
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert set(told["ended"].values()) == {"clean"} and told["found"] == []
