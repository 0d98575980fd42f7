"""One defect under three backends: a dump of `contain` or `log` says what one of `raise` says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import prepared
from triage.cli import main
from triage.dump.file import read_dump

BACKENDS = ("triton", "flashinfer", "fa3")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """(mode, backend) -> the first dump, and what its launch read."""
    found = {}
    for mode in ("raise", "contain", "log"):
        directory = tmp_path_factory.mktemp(mode)
        done = prepared.python("-m", "tests.sglang.reinjected_slots_child", directory, mode)
        assert done.returncode == 0, done.stderr[-2000:]
        answer = json.loads(done.stdout.splitlines()[-1])
        found |= {(mode, backend): answer[backend] for backend in BACKENDS}
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_table_is_the_one_that_the_launch_read(told, backend):
    for mode in ("contain", "log"):
        tables = read_dump(Path(told[mode, backend]["dump"])).tables
        (read,) = told[mode, backend]["read"]
        row = tables.page_table.row(0).tolist()
        first = 0 if tables.stored_from is None else int(tables.stored_from[0])
        assert row[first:] == (read[first:] if backend == "fa3" else read)


@pytest.mark.parametrize("backend", BACKENDS)
def test_table_request_row_and_mapping_are_those_of_mode_raise(told, backend):
    # GIVEN the dump of mode raise, which read the device before the launch
    before = read_dump(Path(told["raise", backend]["dump"])).tables
    for mode in ("contain", "log"):
        after = read_dump(Path(told[mode, backend]["dump"])).tables
        first = 0 if after.stored_from is None else int(after.stored_from[0])
        live = len(after.page_table.row(0))
        # THEN a dump of the others has the same, as far as it says that it has any
        for name in ("page_table", "req_to_token"):
            kept = getattr(after, name).row(0)[first:].tolist()
            assert kept == getattr(before, name).row(0)[first:live].tolist(), (mode, name)
        assert set(map(tuple, after.mapping)) <= set(map(tuple, before.mapping)), mode
        assert after.cache_seqlens.tolist() == before.cache_seqlens.tolist()
        assert after.source, "where it was taken from is said"


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_cause_is_the_same_in_every_mode(told, backend):
    causes = {
        mode: CliRunner()
        .invoke(main, ["explain", told[mode, backend]["dump"]])
        .output.split("\n")[0]
        for mode in ("raise", "contain", "log")
    }
    assert causes["raise"].startswith("full-pool ids in an SWA layer")
    assert len(set(causes.values())) == 1, causes
    # AND the table can be looked at
    shown = CliRunner().invoke(main, ["show", told["contain", backend]["dump"]])
    assert shown.exit_code == 0 and "wrong id space" in shown.output


@pytest.mark.parametrize("kernel", ["eager", pytest.param("triton", marks=pytest.mark.slow)])
def test_a_dump_of_contain_replays_as_one_of_raise(told, kernel):
    lines = {}
    for mode in ("raise", "contain"):
        arguments = ["replay", told[mode, "triton"]["dump"], "--kernel", kernel]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 1, done.output
        lines[mode] = [line for line in done.output.splitlines() if line.startswith(("  ", kernel))]
    assert lines["raise"] == lines["contain"]
