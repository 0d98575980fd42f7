"""A name that is not known: what is meant is said, and a shell completes the ones there are."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.cli.every_command import commands
from triage import config
from triage.cli import COMMANDS, main
from triage.dump.file import write_dump
from triage.errors import ConfigError, did_you_mean

SAID = {
    "a command": (["explian", "x"], "did you mean explain?"),
    "a command of a group": (["lab", "rnu"], "Did you mean 'run'?"),
    "an option": (["show", "x", "--hitory"], "Did you mean '--history'?"),
    "a replay kernel": (["replay", "DUMP", "--kernel", "eagr"], "did you mean eager?"),
    "a fix": (["replay", "DUMP", "--fix", "state-swp"], "did you mean state-swap?"),
    "a scenario": (["lab", "run", "smok"], "did you mean smoke?"),
    "a format": (["export", "DUMP", "--as", "pytst", "-o", "x"], "did you mean pytest?"),
    "a proof": (["verify", "state-swp"], "did you mean state-swap?"),
    "an invariant": (["explain", "I77"], "did you mean I"),
    "a class of defect": (["explain", "dubble-free"], "did you mean double-free?"),
    "a pattern": (["fusions", "port", "norm-ad-norm"], "did you mean norm-add-norm?"),
}


@pytest.fixture(scope="module")
def dump(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("meant")
    return str(write_dump(dumps.make_dump(dumps.SMALL), folder, name="small.msgpack"))


@pytest.mark.parametrize("name", SAID)
def test_what_is_meant_is_said(name, dump):
    arguments, meant = SAID[name]
    ran = CliRunner().invoke(main, [dump if each == "DUMP" else each for each in arguments])
    assert ran.exit_code == 2, ran.output
    assert meant in " ".join(ran.output.split())


def test_a_kernel_of_ours_is_meant():
    errors = pytest.importorskip("triage_kernels.core.errors")
    said = str(errors.no_such("kernel", "dual_rmsnor", ["gemma_dual_rmsnorm", "other"]))
    assert said.startswith("no kernel 'dual_rmsnor' (did you mean gemma_dual_rmsnorm?); there are")


def test_a_variable_and_its_value_are_meant():
    with pytest.raises(ConfigError, match="did you mean SGLANG_TRTLLM_MHA_DEBUG_CHECKS"):
        config.from_environment({"SGLANG_TRTLLM_MHA_DEBUG_CHEKS": "I1"})
    with pytest.raises(ConfigError, match="did you mean contain"):
        config.from_environment({"SGLANG_TRTLLM_MHA_DEBUG_MODE": "contian"})
    with pytest.raises(ConfigError, match="did you mean lifecycle"):
        config.from_environment({"SGLANG_TRTLLM_MHA_DEBUG_CHECKS": "lifecicle"})


def test_nothing_is_meant_by_a_name_that_is_like_no_other():
    assert did_you_mean("xyzzy", COMMANDS) == ""
    assert did_you_mean("SHOW", COMMANDS) == " (did you mean show?)"


def completed(words: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", "from triage.cli import main; main(prog_name='triage')"],
        env={**os.environ, "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1),
             "_TRIAGE_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert ran.stderr == ""
    return ran.stdout.split()


def test_commands_complete_without_loading_one():
    assert completed("triage re") == ["plain,report", "plain,replay", "plain,redact"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("triage replay x --kernel em", "plain,emulator"),
        ("triage replay x --fix st", "plain,state-swap"),
        ("triage lab run smoke-e", "plain,smoke-eagle"),
        ("triage lab run smoke --checks I1,lif", "plain,I1,lifecycle"),
        ("triage explain dou", "plain,double-free"),
        ("triage export x --as sc", "plain,script"),
        ("triage lab serve E4", "plain,E4B"),
        ("triage lab serve E4B --mode con", "plain,contain"),
        ("triage lab serve E4B --load mi", "plain,mixed"),
        ("triage lab serve E4B --attention tri", "plain,triton"),
        ("triage run --checks I1,al", "plain,I1,allocator"),
        ("triage doctor --arch sm_10", "plain,sm_103"),
        ("triage doctor --sglang 0.5", "plain,0.5"),
        ("triage kernels resolve x --flashinfer 0.6", "plain,0.6"),
        ("triage kernels bench --contender sglang-", "plain,sglang-unfused"),
        ("triage report dum", "file,dum"),
    ],
    ids=lambda value: value.replace("triage ", "") if value.startswith("triage") else "",
)
def test_values_complete(words, found):
    if words.startswith("triage kernels bench"):
        pytest.importorskip("torch")
    given = completed(words)
    assert found in given or any(each.startswith(found) for each in given if found[-1].isdigit())


FREE = {
    "base-url", "callable", "install", "label", "map", "mem", "model", "name", "tasks",
}  # fmt: skip
"""Options whose value is anybody's: an address, a name, an expression, a release to fetch."""


def test_every_option_whose_values_are_known_completes_them():
    missing = []
    for path, command in commands(main):
        for option in command.params:
            if not isinstance(option, click.Option) or option.is_flag or option.count:
                continue
            named = option.opts[0].lstrip("-")
            text = type(option.type) is type(click.STRING)
            if text and option._custom_shell_complete is None and named not in FREE:
                missing.append(f"{' '.join(path)} --{named}")
    assert not missing
