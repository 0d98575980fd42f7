"""`triage doctor` on machines that are whole, broken and deadly: it answers on each."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doctor import machines
from tests.doctor.machines import machine
from triage import config
from triage.doctor import child
from triage.doctor.ask import ask
from triage.doctor.text import MAX_LINES


def doctor(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "triage", "doctor", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


# -- the whole, on the SGLang that is installed here -----------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], dict]:
    """One run as text would be too many: the JSON has everything the text is made from."""
    if importlib.util.find_spec("sglang") is None:
        pytest.skip("SGLang is not installed")
    ran = doctor(machine(tmp_path_factory.mktemp("whole")), "--wait", "--json")
    return ran, json.loads(ran.stdout)


def test_every_hook_binds_for_real_and_what_is_stood_in_is_named(whole):
    ran, found = whole

    assert (ran.returncode, ran.stderr) == (0, "")
    assert found["traps_active"] and len(found["hooks"]) > 50
    assert all(hook["bound"] for hook in found["hooks"])
    assert any("trtllm_batch_decode_with_kv_cache" in hook["target"] for hook in found["hooks"])
    if found["stages"]["gpu"]["state"] == "absent":
        states = {name: facts["state"] for name, facts in found["stages"].items()}
        assert states["torchvision"] in ("found", "stood in")
        assert states["flashinfer"] in ("found", "stood in")
        assert states["torch"] == states["sglang"] == "found"


def test_the_text_fits_forty_lines_and_lists_hooks_only_when_asked(whole):
    from triage.doctor.examine import Examined
    from triage.doctor.text import text
    from triage.sglang.launch.coverage import served

    _, found = whole
    stages = {name: dict(facts) for name, facts in found["stages"].items()}
    stages["bind"] |= {"hooks": found["hooks"], "not_applicable": found["not_applicable"]}
    noisy = [f"warning {i}" for i in range(20)]
    examined = Examined("bad", noisy, config.Config(), stages, served((), "sm_90"), ())

    short, long = text(examined), text(examined, verbose=True)

    assert len(short.splitlines()) <= MAX_LINES
    assert "ReqToTokenPool" not in short
    assert "bound  ReqToTokenPool.write: what is written into a row (I20)" in long
    assert short.splitlines()[0] == "BAD ENVIRONMENT, no server starts with it: bad"
    assert f"{len(found['hooks'])} of {len(found['hooks'])} bind on SGLang" in short


# -- machines on which something is missing, broken or deadly --------------------------------


def test_without_sglang_there_is_nothing_to_ask(tmp_path):
    ran = doctor(machine(tmp_path, absent=["sglang"], torch=machines.TORCH))

    assert (ran.returncode, ran.stderr) == (3, "")
    assert "no SGLang is installed" in ran.stdout
    assert "pip install" in ran.stdout


def test_without_sglang_no_torch_is_imported(tmp_path):
    """It takes seconds, and whatever it answered, there would be nobody to ask next."""
    ran = doctor(machine(tmp_path, absent=["sglang"], torch=machines.ABORTS))
    assert (ran.returncode, ran.stderr) == (3, "")
    assert "CRASHED" not in ran.stdout


def test_without_torch_sglang_cannot_bind_and_that_is_the_reason(tmp_path):
    ran = doctor(machine(tmp_path, absent=["torch"], sglang=""))

    assert (ran.returncode, ran.stderr) == (1, "")
    assert "torch, which it needs, is absent: pip install torch" in ran.stdout


def test_without_torch_and_sglang_the_answer_is_nothing_to_ask(tmp_path):
    ran = doctor(machine(tmp_path, absent=["torch", "sglang"]))
    assert (ran.returncode, ran.stderr) == (3, "")


def test_a_torch_that_cannot_be_imported_is_named_with_its_reason(tmp_path):
    ran = doctor(machine(tmp_path, torch=machines.BROKEN_TORCH, sglang=""))

    assert (ran.returncode, ran.stderr) == (1, "")
    assert "torch: cannot be imported: ImportError: libcudart.so.13" in ran.stdout
    assert "torch/__init__.py:2" in ran.stdout


def test_a_sglang_that_cannot_be_imported_is_named_with_its_reason(tmp_path):
    made = machine(
        tmp_path, torch=machines.TORCH, torchvision="", flashinfer="", sglang=machines.BROKEN_SGLANG
    )
    ran = doctor(made)

    assert (ran.returncode, ran.stderr) == (1, "")
    assert "sglang: cannot be imported: ImportError: cannot import name 'Sampler'" in ran.stdout


@pytest.mark.parametrize("name", ["torchvision", "flashinfer"])
@pytest.mark.parametrize(
    ("source", "state", "words"),
    [
        (machines.RAISES, "broken", "was compiled for another torch"),
        (machines.ABORTS, "crashed", "SIGABRT: Only a single TORCH_LIBRARY can be used"),
        ("import sys; sys.exit(3)", "crashed", "exit code 3"),
    ],
    ids=["raises", "aborts", "exits"],
)
def test_a_package_that_fails_is_a_finding_and_the_rest_is_still_asked(
    tmp_path, name, source, state, words
):
    # GIVEN a machine whose torchvision, or FlashInfer, fails in one of the ways they do
    flashinfer = {"torchvision": "", "flashinfer": ""} | {name: source}
    made = machine(tmp_path, torch=machines.TORCH, sglang=machines.BROKEN_SGLANG, **flashinfer)
    # WHEN the doctor asks
    stages = ask(made, timeout_s=60)
    # THEN that is its finding, and SGLang was asked all the same
    assert stages[name]["state"] == state
    assert words in stages[name]["reason"]
    assert "Sampler" in stages["sglang"]["reason"]


def test_a_package_that_never_returns_is_given_up(tmp_path):
    stages = ask(machine(tmp_path, torch=machines.HANGS, sglang=""), timeout_s=3)

    assert stages["torch"] == {"state": "timed out", "reason": "did not end within 3 s"}
    assert stages["bind"] == {"state": "not reached"}


def test_a_torch_that_aborts_does_not_end_the_doctor(tmp_path):
    ran = doctor(machine(tmp_path, torch=machines.ABORTS, sglang=""))

    assert (ran.returncode, ran.stderr) == (1, "")
    assert "torch: CRASHED: SIGABRT: Only a single TORCH_LIBRARY" in ran.stdout


# -- nothing is stood in over something real -------------------------------------------------


def test_a_torchvision_that_registers_its_operators_is_left_alone(tmp_path):
    """The machine that the doctor once aborted: a second registration cannot be caught."""
    made = machine(tmp_path, torchvision=machines.REAL_TORCHVISION, sglang=machines.BROKEN_SGLANG)
    stages = ask(made, timeout_s=120)

    assert stages["torchvision"]["state"] == "found"
    assert "Sampler" in stages["sglang"]["reason"]


@pytest.mark.parametrize("twice", [False, True], ids=["once", "asked again"])
def test_the_lab_too_leaves_a_real_torchvision_alone(tmp_path, twice):
    code = (
        "from triage.lab.bootstrap import stand_in_for_torchvision as stand_in\n"
        f"print([stand_in() for _ in range({1 + twice})])"
    )
    made = machine(tmp_path, torchvision=machines.REAL_TORCHVISION)
    ran = subprocess.run(
        [sys.executable, "-c", code], env=made, capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, ran.stdout) == (0, f"{[()] * (1 + twice)}\n")


GPU = {"packages": {"installed": {}}, "gpu": {"state": "found", "arch": "sm_90"}}


def test_with_a_gpu_an_absent_flashinfer_is_not_stood_in():
    installed = {name: {"present": name == "sglang"} for name in child.PACKAGES}
    known = {**GPU, "packages": {"installed": installed}, "torch": {"state": "found"}}

    assert child._flashinfer(known) == {"state": "absent"}
    known["gpu"] = {"state": "absent"}
    assert child._flashinfer(known)["state"] == "stood in"


def test_the_asking_process_imports_nothing_of_the_lab(tmp_path):
    code = (
        "import os, sys\n"
        "from triage.doctor.examine import examine\n"
        "from triage.doctor.text import text\n"
        "text(examine(os.environ, timeout_s=60))\n"
        "heavy = {'torch', 'numpy', 'sglang', 'torchvision', 'triton'}\n"
        "print([n for n in sys.modules if n in heavy or n.startswith('triage.lab')])"
    )
    made = machine(tmp_path, absent=["sglang"], torch=machines.TORCH)
    ran = subprocess.run(
        [sys.executable, "-c", code], env=made, capture_output=True, text=True, timeout=60
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


# -- the environment -------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    return machine(tmp_path, absent=["sglang"], torch=machines.TORCH)


def test_a_bad_value_is_the_first_line_and_the_exit_code(bare):
    ran = doctor({**bare, "SGLANG_TRTLLM_MHA_DEBUG": "1", "SGLANG_TRTLLM_MHA_DEBUG_MODE": "rise"})

    first = ran.stdout.splitlines()[0]
    assert ran.returncode == 2
    assert "SGLANG_TRTLLM_MHA_DEBUG_MODE='rise' is not known" in first
    assert "raise, contain, log" in first


def test_a_variable_that_has_no_effect_is_answered(bare):
    ran = doctor({**bare, "SGLANG_TRTLLM_MHA_DEBUG_MODE": "contain", "SGLANG_TRTLM_MHA_DEBUG": "1"})

    assert ran.returncode == 3
    assert "SGLANG_TRTLLM_MHA_DEBUG_MODE='contain' has no effect" in ran.stdout
    assert "is SGLANG_TRTLLM_MHA_DEBUG meant?" in ran.stdout


def test_a_fix_that_does_not_exist_is_refused_as_the_plugin_would(monkeypatch):
    monkeypatch.setenv("SGLANG_TRIAGE_FIXES", "state-swop")

    found = child._requested({"bind": {"state": "found"}})

    assert "no fix 'state-swop'" in found["refused"]
    assert "state-swap" in found["refused"]


def test_a_release_that_is_neither_here_nor_to_be_fetched_is_refused(bare, tmp_path):
    offline = {**bare, "PIP_NO_INDEX": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    ran = doctor(offline, "--sglang", "9.9.9")

    assert ran.returncode == 2
    assert ran.stderr.splitlines()[0].startswith("fetching the wheel of SGLang 9.9.9")
    assert ran.stderr.splitlines()[1].startswith("Error: SGLang 9.9.9 could not be fetched: ERROR")
    assert ran.stderr.count("\n") == 2


def test_the_answer_by_the_source_says_that_it_is_one(whole):
    from triage.doctor.examine import Examined
    from triage.doctor.text import text, verdict
    from triage.sglang.launch.coverage import served

    stages = {**whole[1]["stages"]}
    bind = {"hooks": whole[1]["hooks"], "not_applicable": whole[1]["not_applicable"]}
    stages["bind"] = {**stages["bind"], **bind}
    stages["sglang"] = {"version": "0.5.18", "state": "read", "late_s": 7.0}
    found = Examined("", [], config.Config(), stages, served((), "sm_90"), ())
    assert "by its source: importing SGLang takes longer than 7 s here (--wait" in text(found)
    assert verdict(found).endswith(", by its source")
