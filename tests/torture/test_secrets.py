"""Nothing of forty secrets is in what leaves a server, nor in what is made of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from tests import prepared
from tests.torture import secrets
from triage.cli import main
from triage.dump.file import encode, read_dump
from triage.dump.provenance import SET, VARIABLES, environment, identity
from triage.dump.redact import REMOVED, redact, sentence
from triage.dump.store import DumpStore
from triage.export import FORMATS

OUTCOMES = {
    "raise": "trapped",
    "contain": "contained",
    "log": "fault",
    "slots": "WrongIndexSpace",
    "witness": "WrongOutput",
    "late": "freed-page",
}


@pytest.fixture(scope="module")
def dumped(tmp_path_factory):
    """The dumps, crashes and snapshots of processes full of secrets."""
    directory = tmp_path_factory.mktemp("secrets")
    done = prepared.python("-m", "tests.torture.secrets_child", directory)
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert told == {name: json.dumps({"outcome": each}) for name, each in OUTCOMES.items()}
    assert secrets.found_in(done.stderr.encode()) == []  # the log
    return directory


def test_forty_secrets_are_planted_and_would_be_found():
    assert secrets.COUNT == 40
    planted = repr(secrets.planted_environment()) + repr(secrets.exception())
    assert len(secrets.found_in(planted.encode())) == len(secrets.ENVIRONMENT) + 5
    tables = encode(replace(_dump(), kv={"k": np.full(8, secrets.KV, np.float16)}))
    assert secrets.found_in(tables) == ["KV"]


def _dump():
    from tests import dumps_fixture

    return dumps_fixture.make_dump(dumps_fixture.SMALL)


def test_no_dump_snap_or_crash_file_holds_one(dumped):
    kinds = Counter("-".join(path.name.split("-")[:2]) for path in dumped.iterdir())
    assert kinds == {
        **{f"{mode}-{kind}": 1 for mode in MODES for kind in ("StaleSWAState", "crash", "snap")},
        **{f"{mode}-WrongIndexSpace": 1 for mode in MODES},  # logged when the backend was built
        "log-crash": 2,  # untrapped, the emulated fault came too
        "slots-WrongIndexSpace": 1,
        "witness-WrongOutput": 1,
        "slots-TableForm": 1,  # what Triton's decode leaves out in every release
        "late-BrokenLifecycle": 2,  # the counts, then the page
    }
    assert secrets.found_under(dumped) == []
    for crash in dumped.glob("*-crash-*"):
        assert read_dump(crash).fault.summary.partition(" left ")[0] in CRASHES
    # AND what could have held one is there: requests by their hashes, the histories of pages
    trapped = read_dump(next(dumped.glob("raise-Stale*")))
    events = [event for page in trapped.fault.pages for event in page.events]
    told = [each.request for each in events if each.request]
    assert told and all(each.startswith("#") for each in told)
    assert all(each.startswith("#") for each in trapped.tables.request_ids)


CRASHES = ("ValueError", "an exception")
MODES = ("raise", "contain", "log")


def test_what_is_ours_is_not_taken_for_a_secret(dumped):
    for path in dumped.iterdir():
        launch = read_dump(path).launch
        assert launch is None or launch.api != REMOVED, path.name


def test_no_report_or_export_holds_one(dumped, tmp_path):
    runner = CliRunner()
    whole = ("raise-Stale", "contain-Stale", "slots-Wrong")
    for path in sorted(dumped.iterdir()):
        commands = [["show"], ["show", "-v"], ["show", "--json"], ["show", "--history"]]
        commands += [["explain"], ["report", "--json"]]
        commands += [["explain", "--json"], ["replay", "--kernel", "emulator", "--json"]]
        commands += [["report", "-o", str(tmp_path / f"{path.name}.html")]]
        if path.name.startswith(whole):
            commands += [["minimise", "-o", str(tmp_path / f"{path.name}.small")]]
            commands += [
                ["export", "--as", kind, "-o", str(tmp_path / f"{path.stem}.{kind}")]
                for kind in FORMATS
            ]
        for command in commands:
            done = runner.invoke(main, [*command, str(path)])
            if done.exit_code == 2:  # a ring has not all that an export is made of
                assert command[0] == "export" and not path.name.startswith("raise")
                assert " needs " in done.output
            else:
                assert done.exit_code in (0, 1, 3, 5), (command, path.name, done.output)
            assert secrets.found_in(done.output_bytes) == [], command
    made = Counter(path.suffix for path in tmp_path.iterdir())
    assert made[".html"] == len(list(dumped.iterdir())) and made[".small"] == len(whole)
    assert secrets.found_under(tmp_path) == []


def test_an_old_dump_is_redacted_and_stays_of_use(tmp_path):
    # GIVEN a dump as an older version wrote it, with everything in it
    old = _dump()
    text = f"ValueError: {secrets.exception()}"
    old = replace(
        old,
        fault=replace(old.fault, facts={"kind": text, "where": f"/home/{secrets.FILE}/x/y.py"}),
        launch=replace(old.launch, arguments={"rid": secrets.REQUEST, "bmm1_scale": 0.5}),
        provenance={
            "host": secrets.HOST,
            "command": f"/opt/{secrets.COMMAND}/launch_server.py",
            "environment": {**secrets.planted_environment(), "CUDA_LAUNCH_BLOCKING": "1"},
            "versions": {"torch": "2.13.0", secrets.URL: "1"},
            "gpu": "NVIDIA H200",
            "note": text,
        },
        history=({"sequence": 1, "source": text, "stale": "its pool: none"},),
        kv={"k": np.full(8, secrets.KV, np.float16)},
        extra={"notes": text.encode()},
    )
    (tmp_path / "old").write_bytes(encode(old))
    assert len(secrets.found_under(tmp_path)) > 30
    # WHEN it is redacted
    command = ["redact", str(tmp_path / "old"), "-o", str(tmp_path / "new")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    (tmp_path / "old").unlink()
    # THEN no secret is left, and the evidence is
    assert secrets.found_under(tmp_path) == []
    new = read_dump(tmp_path / "new")
    assert np.array_equal(new.tables.page_table.values, old.tables.page_table.values)
    assert new.provenance["environment"]["CUDA_LAUNCH_BLOCKING"] == "1"
    assert new.provenance["gpu"] == "NVIDIA H200" and new.launch.arguments["bmm1_scale"] == 0.5
    assert new.history[0] == {"sequence": 1, "source": REMOVED, "stale": "its pool: none"}
    assert encode(redact(new)) == encode(new)


def test_a_value_is_told_only_in_the_form_that_its_name_has():
    assert environment({"CUDA_VISIBLE_DEVICES": "0,1", "NCCL_X": "1"}) == {
        "CUDA_VISIBLE_DEVICES": "0,1"
    }
    assert set(environment(dict.fromkeys(VARIABLES, "Bearer x")).values()) == {SET}


def test_host_and_user_are_told_where_that_was_asked_for(tmp_path):
    for asked in (False, True):
        path, _ = DumpStore(tmp_path, identity=asked).save(_dump(), "A")
        told = {name: read_dump(path).provenance.get(name) for name in identity()}
        assert told == (identity() if asked else dict.fromkeys(identity()))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a page of another request, row 3", "a page of another request, row 3"),
        ("SWAKVPool at /srv/models/x/pool.py:31", "SWAKVPool at pool.py:31"),
        ("see https://u:p@host/x now", "see (removed) now"),
        ("cannot tokenise 'a prompt that nobody else may read'", "cannot tokenise (removed)"),
        ("first line\nsecond", "first line"),
        ("7/8 of 16 entries (1/2)", "7/8 of 16 entries (1/2)"),
    ],
)
def test_a_sentence_loses_paths_addresses_and_quotations(text, kept):
    assert sentence(text) == kept


def test_the_variables_that_this_toolkit_reads_are_told():
    from triage import config

    ours = {name for name in vars(config).values() if isinstance(name, str) and "TRTLLM" in name}
    paths = {config.DIRECTORY, config.SPOOL}  # where something lies on a machine is nobody's
    ours = {name for name in ours if name.isupper()} - paths - {config.IDENTITY}
    assert ours <= set(VARIABLES), os.linesep.join(ours - set(VARIABLES))
