"""`triage doctor --self-test`: a wrong page id is planted, and it is said who noticed."""

from __future__ import annotations

import importlib.util
import os

import pytest

from tests.doctor import machines
from tests.doctor.machines import machine
from triage.doctor import self_test as shown_by
from triage.doctor.planted import device
from triage.doctor.self_test import FALSE_ALARM, FIRED, NOT_RUN, SILENT, Shown, exit_code, lines


def test_a_wrong_id_below_sglangs_own_metadata_is_raised_before_the_launch_and_dumped():
    if importlib.util.find_spec("sglang") is None:
        pytest.skip("SGLang is not installed")
    hooks, gpu = shown_by.self_test(os.environ, gpu=False)

    assert (hooks.state, hooks.reason) == (FIRED, "")
    assert hooks.facts["invariant"] == "I2"
    assert hooks.facts["dump_read"] is True
    assert hooks.facts["launches_unharmed"] > 100
    assert hooks.facts["launches_planted"] == 0
    assert (gpu.state, gpu.reason) == (NOT_RUN, "there is no GPU here")
    assert exit_code((hooks, gpu)) == 0


def test_the_checker_finds_the_planted_entry_and_nothing_before_it():
    facts = device("cpu")
    assert facts["launched"] == {"alarm_unharmed": [], "found": ["I2"]}
    assert facts["fired"] and not facts["alarm_unharmed"]


@pytest.mark.gpu
def test_on_a_gpu_it_is_found_in_a_replayed_graph_too():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    assert device()["in_graph"] == {"alarm_unharmed": [], "found": ["I2"]}


def test_a_machine_on_which_it_cannot_run_is_told_so_and_no_trap_is_blamed(tmp_path):
    made = machine(tmp_path, torch=machines.ABORTS)
    shown = shown_by.self_test(made, gpu=False, timeout_s=60)

    assert shown[0].state == NOT_RUN
    assert "SIGABRT: Only a single TORCH_LIBRARY" in shown[0].reason
    assert exit_code(shown) == 3
    assert "not run: SIGABRT" in lines(shown)[0]


@pytest.mark.parametrize(
    ("facts", "state", "code"),
    [
        ({"fired": False, "alarm_unharmed": ""}, SILENT, 1),
        ({"fired": True, "alarm_unharmed": "I2: of a healthy table"}, FALSE_ALARM, 1),
    ],
    ids=["nothing fired", "it fired before anything was planted"],
)
def test_a_silent_trap_and_a_false_alarm_are_failures(monkeypatch, facts, state, code):
    ran = shown_by.run_child
    told = f"import json; print(json.dumps({facts!r}))"

    def child(command, environment, timeout_s):
        return ran([command[0], "-c", told], environment, timeout_s)

    monkeypatch.setattr(shown_by, "run_child", child)
    hooks, _ = shown_by.self_test(os.environ, gpu=False)

    assert hooks.state == state
    assert exit_code((hooks,)) == code
    assert ("NOTHING fired" in lines((hooks,))[0]) is (state == SILENT)


def test_the_report_of_it_is_plain():
    assert Shown("gpu", FIRED, "", {"fired": True}).json() == {
        "where": "gpu",
        "state": "fired",
        "reason": "",
        "fired": True,
    }
