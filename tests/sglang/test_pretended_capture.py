"""No hook of any family reads the device under a capture, and none alarms behind it.

The capture is pretended (`triage/lab/pretended_capture.py`): what would wait for a GPU raises.
"""

from __future__ import annotations

import json

import pytest
import torch

from tests import prepared
from triage.device import capture
from triage.device.syncs import HostRead
from triage.invariants.findings import Fault, Findings
from triage.lab.pretended_capture import pretended_capture


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ("0.5.18", "raise"),
        pytest.param("0.5.18", "contain", marks=pytest.mark.slow),
        pytest.param("0.5.14", "raise", marks=pytest.mark.slow),
        pytest.param("0.5.18", "log", marks=pytest.mark.slow),
    ],
)
def test_every_bound_hook_of_every_family_leaves_the_device_alone(tmp_path, version, mode):
    # WHEN every hook that `install` binds is entered while a capture is on
    done = prepared.python("-m", "tests.sglang.pretended_child", mode, tmp_path, version=version)
    # THEN none reads, and the same pools go on outside it without an alarm
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["sglang"] == version
    entered = {*found["reached"], *found["entered bare"]}
    assert entered == set(found["bound"])
    for name, played in found["played"].items():
        if "left out" in played:
            continue
        assert played["wrong"] is None and played["failures"] == {}, name
        assert played["steps"][1] > 0, name
        counts = played["counts"]
        seen = counts.get("tables under capture", 0) + counts.get("slot streams under capture", 0)
        assert seen > 0, name
        assert "launches not covered" not in counts, name
    assert not list(tmp_path.glob("*.dump"))


def test_a_read_of_ours_under_a_capture_raises_with_its_place():
    found = Findings([Fault("I9", "translated", torch.tensor([True]), torch.tensor([1]), 0, 2)])
    with pretended_capture():
        assert capture.capturing()
        with pytest.raises(HostRead, match=r"tolist under a capture, at .*findings\.py:\d+"):
            found.read()
        # AND what is not ours may
        assert torch.tensor([3]).item() == 3
    assert not capture.capturing() and found.read() == {"I9": 1}
