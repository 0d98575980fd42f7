"""The kernels compile for the GPUs they are for, none of which needs to be here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest


def told_by(module: str) -> Any:
    """What a process in which Triton compiles, not interprets, prints as JSON."""
    child = subprocess.run(
        [sys.executable, "-m", module],
        capture_output=True,
        text=True,
        timeout=300,
        env={k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"},
        check=False,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    return json.loads(child.stdout)


@pytest.mark.slow
def test_every_kernel_compiles_for_hopper_and_blackwell_within_registers():
    # WHEN each kernel is compiled, all its parts switched on
    stack = told_by("tests.device.compile_child")
    # THEN there is a binary of each for four architectures, and registers hold its values
    # (all but 8 bytes of check_table's on sm_90, with every part switched on)
    assert len(stack) == 24
    assert max(stack.values()) <= 8


@pytest.mark.slow
def test_launches_as_they_are_made_bind_and_compile():
    # WHEN two forwards hand their launches to Triton, the second over new tensors
    made = told_by("tests.device.launch_child")
    # THEN each is compiled, and every constant, passed by position, has its own name
    first, second = made[: len(made) // 2], made[len(made) // 2 :]
    names = [launch["kernel"] for launch in first]
    assert names == ["check_writes_kernel", *2 * ["check_table_kernel", "record_kernel"]]
    assert first == second
    for launch in made:
        constants = launch["constants"]
        assert launch["target"] == 100 and launch["bytes"] > 0 and constants["PAGE"] == 64
        expected = {"SLOTS": 256, "CHANGES": 2048} if "SLOTS" in constants else {"CAPACITY": 256}
        assert expected.items() <= constants.items()


@pytest.mark.slow
def test_an_event_of_a_pages_history_never_compiles_while_a_server_serves():
    # WHEN events of every form are handed to Triton: steps, types, views of any alignment
    before, after = told_by("tests.device.note_child")
    # THEN what was compiled when the log was made is all that they need
    assert before == after == 1


def test_a_direct_launch_hands_over_what_triton_itself_hands_over():
    # WHEN events of one and of two pools are launched directly, and each again by Triton
    direct, launches, differ = told_by("tests.device.direct_child")
    # THEN this release is one whose launches were read, and grid, stream, function and every
    # argument are the same
    assert direct and launches == 6
    assert differ == []
