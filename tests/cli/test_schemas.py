"""Every `--json` names its schema, the schema is in the package, and what is printed obeys it."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

import triage.commands
from tests import dumps_fixture as dumps
from tests.cli.every_command import commands
from tests.importers import texts
from triage.cli import main
from triage.dump.file import write_dump
from triage.files.reports import VERSIONS, report, schema_of

COMMANDS = sorted(Path(triage.commands.__file__).parent.glob("*.py"))
WRITES_FILES = {"kernels_tune.py", "probe.py"}
"""Their JSON is a file that another command reads, not a report."""


@pytest.mark.parametrize("name", VERSIONS)
def test_a_schema_is_in_the_package_and_is_one(name):
    schema = schema_of(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"]["const"] == f"sglang-triage/{name}/{VERSIONS[name]}"
    assert "schema" in schema["required"] and len(schema["required"]) > 1


def test_there_is_no_schema_of_nothing():
    files = (resources.files("triage.files") / "schemas").iterdir()
    assert {Path(str(each)).stem for each in files} == set(VERSIONS)


def test_every_command_prints_json_through_a_report_that_has_a_schema():
    named, others = set(), []
    for path in COMMANDS:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called == "report_json":
                named.add(ast.literal_eval(node.args[0]))
            elif called in ("to_json", "json.dumps") and path.name not in WRITES_FILES:
                others.append(f"{path.name}:{node.lineno}")
    assert named == set(VERSIONS)
    assert not others


@pytest.mark.parametrize("path", [path for path, _ in commands(main)], ids=" ".join)
def test_every_command_there_is_prints_json(path):
    output = CliRunner().invoke(main, [*path, "--help"]).output
    assert "--json" in output


def checked(*arguments: object, codes: tuple[int, ...] = (0,)) -> dict:
    ran = CliRunner().invoke(main, [str(each) for each in (*arguments, "--json")])
    assert ran.exit_code in codes, ran.output
    found = json.loads(ran.stdout)
    name = found["schema"].split("/")[1]
    jsonschema.validate(found, schema_of(name))
    return found


@pytest.fixture(scope="module")
def e4b(tmp_path_factory) -> Path:
    return write_dump(dumps.make_dump(), tmp_path_factory.mktemp("schema"), name="e4b.msgpack")


def test_show_leaves_no_row_and_no_entry_out(e4b):
    found = checked("show", e4b)
    assert len(found["rows"]) == found["rows_total"] == 64
    assert all(len(row["entries"]) == row["entries_total"] for row in found["rows"])
    assert len(checked("show", e4b, "--rows", 3)["rows"]) == 3


def test_show_says_how_many_rows_it_left_out(e4b):
    output = CliRunner().invoke(main, ["show", "-v", str(e4b)]).output
    assert "8 of 64 rows" in output and "-v --rows 64 lists all" in " ".join(output.split())


def test_explain_obeys_its_schema_for_a_dump_a_log_and_both(e4b, tmp_path):
    assert checked("explain", e4b)["named"] == ["stale-swa-state"]
    for name, text in (
        ("a.log", texts.SANITIZER),
        ("b.log", texts.LEAK + texts.PEERS),
        ("c.log", texts.TMA.format(code=700)),
        ("d.log", "nothing is known of this\n"),
        ("e.log", texts.FLASHINFER.format(name="xqa")),
    ):
        log = tmp_path / name
        log.write_text(text)
        assert checked("explain", log)["status"] == "unknown"
        checked("explain", log, e4b)


def test_explain_of_an_invariant_obeys_its_schema():
    assert checked("explain", "I12")["name"] == "I12"
    assert checked("explain", "stale-mapping")["key"] == "stale-mapping"


def test_replay_and_resolve_obey_their_schemas(e4b):
    checked("replay", e4b, "--kernel", "emulator", codes=(1,))
    checked("kernels", "resolve", e4b)


def test_commands_that_write_a_file_say_where_it_is(e4b, tmp_path):
    log = tmp_path / "a.log"
    log.write_text(texts.SANITIZER)
    small = checked("minimise", e4b, "-o", tmp_path / "small.msgpack")
    assert small["after"]["encoded_bytes"] < small["before"]["encoded_bytes"]
    for arguments in (
        ("import", log, "-o", tmp_path / "imported.msgpack"),
        ("redact", e4b, "-o", tmp_path / "redacted.msgpack"),
        ("export", small["written"], "--as", "pytest", "-o", tmp_path / "test_it.py"),
        ("fusions", "port", "norm-add-norm", "--into", tmp_path / "mine.py"),
    ):
        for written in checked(*arguments)["written"]:
            assert Path(written).is_file()


def test_a_report_is_an_object_even_where_it_is_a_list():
    assert report("lab-bugs", []) == {"schema": "sglang-triage/lab-bugs/1", "rows": []}


def test_a_dump_without_a_launch_is_shown_by_the_same_schema(tmp_path):
    bare = replace(dumps.make_dump(), launch=None, tables=None, pools=None, backend=None)
    checked("show", write_dump(bare, tmp_path, name="bare.msgpack"))
