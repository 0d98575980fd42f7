"""The kernels compile for the GPUs they are for, none of which needs to be here."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_every_kernel_compiles_for_hopper_and_blackwell_within_registers():
    # GIVEN a process in which Triton compiles
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    # WHEN it compiles each kernel, all its parts switched on
    child = subprocess.run(
        [sys.executable, "-m", "tests.device.compile_child"],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )
    # THEN there is a binary of each for four architectures, and registers hold its values
    # (all but 8 bytes of check_table's on sm_90, with every part switched on)
    assert child.returncode == 0, child.stderr[-2000:]
    stack = json.loads(child.stdout)
    assert len(stack) == 16
    assert max(stack.values()) <= 8


@pytest.mark.slow
def test_launches_as_they_are_made_bind_and_compile():
    # GIVEN a process in which Triton compiles, with a driver that names sm_100
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    # WHEN two forwards hand it their launches, the second over new tensors
    child = subprocess.run(
        [sys.executable, "-m", "tests.device.launch_child"],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )
    # THEN each is compiled, and every constant, passed by position, has its own name
    assert child.returncode == 0, child.stderr[-2000:]
    made = json.loads(child.stdout)
    first, second = made[: len(made) // 2], made[len(made) // 2 :]
    names = [launch["kernel"] for launch in first]
    assert names == ["check_writes_kernel", *2 * ["check_table_kernel", "record_kernel"]]
    assert first == second
    for launch in made:
        constants = launch["constants"]
        assert launch["target"] == 100 and launch["bytes"] > 0 and constants["PAGE"] == 64
        expected = {"SLOTS": 256, "CHANGES": 2048} if "SLOTS" in constants else {"CAPACITY": 64}
        assert expected.items() <= constants.items()
