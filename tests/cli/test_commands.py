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

GOLDEN = Path(__file__).parents[2] / "dumps" / "e4b_out_of_range.msgpack"


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


# -- what to do next ----------------------------------------------------------------------------


def test_a_log_beside_a_dump_goes_on_with_the_dumps_replay(tmp_path):
    log = tmp_path / "server.log"
    log.write_text("torch.AcceleratorError: CUDA error: an illegal memory access was encountered\n")

    output = invoke("explain", str(log), str(GOLDEN))[1]

    after = output.partition("  next  ")[2]
    assert after.lstrip().startswith(f"triage replay {GOLDEN} --fix state-swap")


def test_a_folder_of_dumps_goes_on_with_the_replay_of_each_that_is_named(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.msgpack").write_bytes(GOLDEN.read_bytes())

    output = invoke("explain", str(tmp_path))[1]

    for name in ("one", "two"):
        assert f"triage replay {tmp_path / name}.msgpack --fix state-swap" in output


def test_what_its_launch_does_not_show_is_neither_minimised_nor_exported(tmp_path):
    # GIVEN a dump whose launch was sound, and whose kernel was wrong
    dump = GOLDEN.parent / "h200" / "query_read_as_packed.msgpack"
    # WHEN the commands are asked all the same, THEN they say what it is that they do not see
    small = invoke("minimise", str(dump), "-o", str(tmp_path / "small"))
    test = invoke("export", str(dump), "-o", str(tmp_path / "test.py"))
    assert "do not show I28" in small[1] and "do not show I28" in test[1]
    # AND a report does not send anybody there
    page = json.loads(invoke("report", dump, "--json")[1])
    offered = str(page)
    assert "triage replay" in offered
    assert "triage minimise" not in offered and "triage export" not in offered


def test_a_dump_is_not_imported_and_not_said_to_be_none(tmp_path):
    code, said = invoke("import", GOLDEN, "-o", tmp_path / "x.msgpack")
    assert code == 2 and "is a dump already: triage show" in said


@pytest.mark.parametrize(
    ("kind", "needs", "runs"),
    [
        ("sglang-tree", "SGLang and torch", "python "),
        ("flashinfer-tree", "sm_100 or sm_103", "python -m pytest "),
    ],
)
def test_a_test_in_another_projects_tree_says_what_runs_it(tmp_path, kind, needs, runs):
    said = invoke("export", str(GOLDEN), "--as", kind, "-o", str(tmp_path))[1]
    written = next(tmp_path.rglob("test_*.py"))
    assert needs in said and f"next: {runs}{written}" in said


def test_a_group_says_whole_what_each_of_its_commands_does():
    listed = " ".join(invoke("lab", "--help")[1].partition("Commands:")[2].split())
    assert "or to the fault a GPU would have had." in listed and "..." not in listed
