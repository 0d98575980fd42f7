"""Commands as a person runs them: output, exit code, one sentence for bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from triage.cli import COMMANDS, main
from triage.dump.file import FORMAT_VERSION, MAGIC, encode, write_dump
from triage.evidence import Evidence


@pytest.fixture(scope="module")
def e4b(tmp_path_factory) -> Path:
    return write_dump(dumps.make_dump(), tmp_path_factory.mktemp("dumps"), name="e4b.msgpack")


def invoke(*arguments) -> tuple[int, str]:
    outcome = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exception
    return outcome.exit_code, outcome.output


def test_show_marks_bad_entries(e4b):
    code, output = invoke("show", "-v", e4b)

    assert code == 0
    assert "99 of 573 visible entries are outside [0, 8658)" in output
    assert "!127:10742" in output


def test_show_as_json_is_complete(e4b):
    code, output = invoke("show", e4b, "--json", "--rows", 2)
    summary = json.loads(output)

    assert code == 0
    assert summary["launch"]["window_left"] == 511
    assert [row["row"] for row in summary["rows"]] == [0, 1]
    assert summary["rows"][0]["entries"][2] == {
        "column": 127, "value": 10742, "expected": 4411, "outside": True, "wrong": True,
    }  # fmt: skip


def test_text_from_a_dump_is_printed_as_it_is(tmp_path):
    fault = Evidence("[bold]I1[/]", "[red]", "\x1b[2J[link=x]")
    path = write_dump(replace(dumps.make_dump(dumps.SMALL), fault=fault), tmp_path, name="m")

    code, output = invoke("show", path)

    assert code == 0
    assert "[bold]I1[/]" in output
    assert "\x1b[2J" not in output


def test_explain_names_the_cause(e4b):
    code, output = invoke("explain", e4b)

    assert code == 0
    assert "SWA state not swapped with the pool" in output
    assert "sgl-project/sglang/issues/26957" in output
    assert "SGLANG_TRIAGE_FIXES=state-swap" in output
    assert json.loads(invoke("explain", e4b, "--json")[1])["named"] == ["stale-swa-state"]


def test_a_fix_is_to_be_tried_where_the_release_needs_it(e4b):
    for command in ("explain", "show"):
        assert "state-swap, where `triage fixes` says NEEDED" in invoke(command, e4b)[1]


def test_a_log_is_followed_by_how_the_traps_get_beside_the_server(tmp_path):
    log = tmp_path / "server.log"
    log.write_text("torch.AcceleratorError: CUDA error: an illegal memory access was encountered\n")
    output = invoke("explain", log)[1]
    assert "SGLANG_TRTLLM_MHA_DEBUG=1" in output
    assert "pip install . in a checkout of it; dumps land in /tmp/trtllm_mha_debug" in output


def test_replay_reports_each_kernel_with_its_basis_and_trtllm_gen_always(e4b):
    code, output = invoke("replay", e4b, "--kernel", "emulator", "--json")
    report = json.loads(output)

    assert code == report["exit_code"] == 1
    assert [verdict["kernel"] for verdict in report["verdicts"]] == ["emulator", "trtllm-gen"]
    assert report["verdicts"][0]["basis"] == "deduced"


def test_replay_over_all_kernels_prints_a_line_for_each(e4b):
    code, output = invoke("replay", e4b, "--fix", "state-swap")

    assert code == 0
    assert "the output equals the reference exactly in all 64 rows" in output
    assert "synthesised, not recorded" in output
    assert "trtllm-gen" in output


@pytest.mark.parametrize("command", ["show", "explain", "replay"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not an sglang-triage dump"),
        (b"PK\x03\x04 foreign", "is not an sglang-triage dump"),
        (encode(dumps.make_dump(dumps.SMALL))[:900], "cut"),
        (msgpack.packb([MAGIC, FORMAT_VERSION + 8]), "has dump format"),
    ],
    ids=["empty", "foreign", "cut", "future"],
)
def test_a_file_that_is_no_dump_is_one_sentence_and_exit_2(command, content, reason, tmp_path):
    path = tmp_path / "bad"
    path.write_bytes(content)

    code, output = invoke(command, path)

    assert code == 2
    assert reason in output
    assert output.startswith("Error: ") and output.count("\n") == 1


@pytest.mark.parametrize("command", ["show", "explain", "replay"])
def test_an_absent_file_is_one_sentence_and_exit_2(command, tmp_path):
    code, output = invoke(command, tmp_path / "absent")

    assert (code, output.count("\n")) == (2, 1)
    assert "No such file" in output


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [("--kernel", "warp", "emulator, eager"), ("--fix", "magic", "state-swap, clamp")],
)
def test_an_unknown_kernel_or_fix_lists_the_known_ones(e4b, option, value, known):
    code, output = invoke("replay", e4b, option, value)

    assert code == 2
    assert f"known: {known}" in output


def test_help_lists_every_command_and_the_exit_codes():
    code, output = invoke("--help")

    assert code == 0
    assert "reproduced" in output
    for command in COMMANDS.values():
        assert command.help.split(".")[0] in " ".join(output.split())


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "sglang", "triton"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
from triage.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show"], 0),
        (["show", "--json"], 0),
        (["explain"], 0),
        (["replay", "--kernel", "emulator"], 1),
        (["replay", "--kernel", "emulator", "--fix", "state-swap"], 0),
    ],
    ids=["show", "show json", "explain", "emulator", "emulator with fix"],
)
def test_dumps_open_without_torch_triton_and_sglang(e4b, arguments, code):
    ran = subprocess.run(
        [sys.executable, "-c", BLOCKED, arguments[0], str(e4b), *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (code, "")


def test_help_imports_neither_numpy_nor_rich():
    probe = (
        "import sys\nfrom click.testing import CliRunner\nfrom triage.cli import main\n"
        "CliRunner().invoke(main, ['--help'])\n"
        "print(sorted({'numpy', 'rich', 'msgpack', 'torch'} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "[]"
