"""`triage batch`: every object is a row, the same objects give the same file, nothing is silent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.batch.folder import as_version, dump, fill
from triage.batch import run as batch
from triage.batch.results import Results, read_table, rows_as_dicts
from triage.batch.rows import COLUMNS, rows_of
from triage.cli import main
from triage.dump.file import encode, read_dump
from triage.engines import EngineError, Inline, engine
from triage.errors import DumpError


def run(*sources: object, out: Path, **options) -> batch.Batch:
    return batch.run([str(each) for each in sources], out, Inline, **options)


def rows(out: Path) -> dict[str, dict]:
    found = rows_as_dicts(read_table(out), COLUMNS)
    return {row["url"].rpartition("/")[2]: row for row in found}


def test_dumps_of_one_failure_are_one_cluster_and_of_another_another(folder, tmp_path):
    found = run(folder, out=tmp_path / "r.parquet").overview

    assert [(each.cause, each.count) for each in found.clusters] == [
        ("stale-swa-state", 2),
        ("slots-as-pages", 1),
    ]
    assert (found.objects, found.clean, found.unread) == (4, 1, 0)


def test_each_cluster_keeps_one_minimal_dump_that_still_fails_the_same_way(folder, tmp_path):
    found = run(folder, out=tmp_path / "r.parquet")

    from triage.explain import explain

    for cluster in found.overview.clusters:
        kept = read_dump(Path(cluster.minimal))
        assert [cause.key for cause in explain(kept).named] == [cluster.cause]
        assert len(kept.tables.cache_seqlens) < 4  # rows of the dump that it was made of
    assert len(list((tmp_path / "r-exemplars").iterdir())) == 2


def test_a_second_run_reads_nothing_and_changes_no_byte(folder, tmp_path):
    out = tmp_path / "r.parquet"
    run(folder, out=out)
    before = out.read_bytes()

    again = run(folder, out=out)

    assert (again.made, again.known) == (0, 4)
    assert out.read_bytes() == before
    assert not (tmp_path / "r.parquet.parts").exists()


def test_what_is_new_or_was_changed_is_read_and_nothing_else(folder, tmp_path):
    out = tmp_path / "r.parquet"
    run(folder, out=out)
    fill(folder, stale=dump("divided twice"), newer=dump())

    again = run(folder, out=out)

    assert (again.made, again.known) == (2, 3)
    assert rows(out)["stale.msgpack"]["cause"] == "divided-twice"


def test_an_interrupted_run_goes_on_where_it_was_and_ends_in_the_same_file(folder, tmp_path):
    # GIVEN a run that was killed after its first part was written
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    run(folder, out=whole)
    objects = batch.list_sources([str(folder)]).objects
    held = Results(cut)
    held.add(rows_of(batch.Chunk(tuple(objects[:3]))).rows())
    held.close()
    assert not cut.exists()
    # WHEN the same command runs again
    again = run(folder, out=cut)
    # THEN it reads the one that is missing, and nobody can tell
    assert (again.made, again.known) == (1, 3)
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_a_batch_that_is_killed_goes_on_and_ends_in_the_same_file(tmp_path):
    # GIVEN more dumps than a part holds, and a command that is killed after its first part
    dumps = {f"d{number:04d}": dump("full ids", step=number) for number in range(1600)}
    folder, out = fill(tmp_path / "dumps", **dumps), tmp_path / "r.parquet"
    command = [sys.executable, "-m", "triage", "batch", str(folder), "--no-exemplars"]
    command += ["--workers", "2", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ran:
        until = time.monotonic() + 120
        while not list(tmp_path.glob("r.parquet.parts/part-*")) and time.monotonic() < until:
            time.sleep(0.01)
        ran.kill()
    assert not out.exists()
    # WHEN the same command runs again
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    # THEN it reads what is missing, and its file is that of a run that was left alone
    made = int(again.stdout.split()[0])
    assert 0 < made < 1600 and f"{1600 - made} known from before" in again.stdout
    run(folder, out=tmp_path / "whole.parquet", minimal=False)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_two_runs_do_not_write_one_file_at_a_time(folder, tmp_path):
    held = Results(tmp_path / "r.parquet")
    with pytest.raises(DumpError, match="another run is writing"):
        run(folder, out=tmp_path / "r.parquet")
    held.close()
    run(folder, out=tmp_path / "r.parquet")


def test_processes_make_the_same_file_as_a_plain_loop(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "CHUNK_OBJECTS", 1)
    run(folder, out=tmp_path / "one.parquet", replay="emulator")
    batch.run(
        [str(folder)], tmp_path / "two.parquet", lambda: engine("local", 2), replay="emulator"
    )

    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_rows_of_workers_that_run_another_release_are_refused(folder, tmp_path):
    class Elsewhere(Inline):
        def map(self, function, tasks):
            for task, answer in super().map(function, tasks):
                yield task, answer._replace(made_by=("sglang-triage 9.9", *answer.made_by[1:]))

    with pytest.raises(EngineError, match=r"the workers run sglang-triage 9\.9 .* same release"):
        batch.run([str(folder)], tmp_path / "r.parquet", Elsewhere)


def test_a_replay_is_a_column_and_asked_for_later_it_is_made_then(folder, tmp_path):
    out = tmp_path / "r.parquet"
    run(folder, out=out)
    assert {row["replay"] for row in rows(out).values()} == {""}

    assert run(folder, out=out, replay="emulator").made == 4
    outcomes = {name: row["replay"] for name, row in rows(out).items()}
    assert outcomes["stale.msgpack"] == "REPRODUCED"
    assert outcomes["right.msgpack"] == "NOT_REPRODUCED"
    assert run(folder, out=out, replay="emulator").made == 0


def test_a_replay_on_a_kernel_that_executes_names_it_and_the_emulators_is_another(tmp_path):
    # GIVEN a wrong launch and a sound one
    pytest.importorskip("torch", reason="the eager kernel is torch")
    folder, out = (
        fill(tmp_path / "dumps", stale=dump(), right=dump("right")),
        tmp_path / "r.parquet",
    )
    asked = ["batch", str(folder), "--workers", "2", "--no-exemplars", "--out", str(out)]
    # WHEN both are executed on a CPU
    ran = CliRunner().invoke(main, [*asked, "--replay", "--kernel", "eager"])
    # THEN each row says on what, and how it ended
    assert ran.exit_code == 0, ran.output
    assert {name: row["replay"] for name, row in rows(out).items()} == {
        "stale.msgpack": "eager: REPRODUCED",
        "right.msgpack": "eager: NOT_REPRODUCED",
    }
    # AND nothing is executed twice, while another kernel is another question
    assert run(folder, out=out, replay="eager").made == 0
    assert run(folder, out=out, replay="emulator").made == 2
    assert rows(out)["stale.msgpack"]["replay"] == "REPRODUCED"


def test_the_rank_and_step_of_a_dump_are_columns(folder, tmp_path):
    fill(
        folder,
        second=dump(ranks={"tp": 1, "tp_size": 2, "pp": 0}, step=40),
        old=dump(rank="3", step="forty"),
    )
    run(folder, out=tmp_path / "r.parquet")
    held = rows(tmp_path / "r.parquet")
    assert (held["second.msgpack"]["rank"], held["second.msgpack"]["step"]) == ("tp 1, pp 0", 40)
    assert (held["old.msgpack"]["rank"], held["old.msgpack"]["step"]) == ("3", None)


# -- bad input ---------------------------------------------------------------------------------


def test_a_bad_file_is_a_row_with_its_error_and_the_exit_code_says_so(folder, tmp_path):
    whole = (folder / "stale.msgpack").read_bytes()
    (folder / "cut.msgpack").write_bytes(whole[: len(whole) // 2])
    (folder / "flipped.msgpack").write_bytes(whole[:-9] + b"\x00" + whole[-8:])
    (folder / "empty.msgpack").touch()
    (folder / "text.msgpack").write_text("Traceback (most recent call last):")
    os.mkfifo(folder / "pipe.msgpack")
    (folder / ".x.msgpack.0123456789abcdef.partial").write_bytes(whole[:100])
    (folder / "server.log").write_text("ready")

    ran = CliRunner().invoke(
        main, ["batch", str(folder), "--out", str(tmp_path / "r.parquet"), "--json"]
    )

    assert ran.exit_code == 2, ran.output
    told = json.loads(ran.stdout)
    held = rows(tmp_path / "r.parquet")
    assert {name: row["error"] for name, row in held.items() if row["error"]} == {
        "cut.msgpack": "file ends early: the file is cut",
        "flipped.msgpack": held["flipped.msgpack"]["error"],
        "empty.msgpack": "it is empty: the upload was not finished, or nothing was written",
        "pipe.msgpack": held["pipe.msgpack"]["error"],
        "text.msgpack": "this is not an sglang-triage dump",
    }
    assert told["overview"]["unread"] == 5
    assert told["overview"]["clusters"][0]["count"] == 2
    assert sum(told["passed_over"].values()) == 2


def test_one_dump_twice_is_counted_once_and_the_copy_says_of_what(folder, tmp_path):
    shutil.copy(folder / "stale.msgpack", folder / "zz_copy.msgpack")

    found = run(folder, folder, out=tmp_path / "r.parquet").overview

    assert (found.objects, found.copies) == (5, 1)
    assert (found.clusters[0].count, found.clusters[0].copies) == (2, 1)
    assert rows(tmp_path / "r.parquet")["zz_copy.msgpack"]["duplicate_of"].endswith(
        "/stale.msgpack"
    )


def test_three_format_versions_are_counted_and_those_not_known_say_so(folder, tmp_path):
    whole = encode(dump(time="2026-11-22T10:00:00+0000"))
    for version in (0, 1, 2):
        (folder / f"v{version}.msgpack").write_bytes(as_version(whole, version))

    found = run(folder, out=tmp_path / "r.parquet").overview

    assert found.format_versions == {"0": 1, "1": 5, "2": 1}
    assert found.unread == 2
    held = rows(tmp_path / "r.parquet")
    assert held["v2.msgpack"]["format_version"] == 2
    assert "has dump format 2" in held["v2.msgpack"]["error"]
    assert held["v1.msgpack"]["cause"] == "stale-swa-state"


def test_a_clock_that_is_ahead_of_the_stores_does_not_make_a_dump_the_newest(folder, tmp_path):
    # GIVEN a dump of a machine whose clock is years ahead, and one in another zone
    fill(
        folder,
        ahead=dump(time="2099-01-01T00:00:00+0000"),
        zone=dump(time="2026-11-20T23:30:00-0500"),
        silent=dump(time="yesterday"),
    )
    # WHEN all are sorted by time
    found = run(folder, out=tmp_path / "r.parquet").overview
    # THEN the store's time stands for the first, and all times are of one zone
    held = rows(tmp_path / "r.parquet")
    assert held["ahead.msgpack"]["seen"] == held["ahead.msgpack"]["modified"]
    assert held["zone.msgpack"]["seen"].isoformat() == "2026-11-21T04:30:00+00:00"
    assert found.clocks["ahead of the store's"] == 1
    assert found.clocks["the store's"] == 1
    assert found.newest.year < 2099


@pytest.mark.parametrize("source", ["", "nowhere", "nowhere.msgpack", "*.msgpack"])
def test_a_source_without_a_dump_is_refused_in_one_sentence(tmp_path, source):
    ran = CliRunner().invoke(
        main, ["batch", str(tmp_path / source), "--out", str(tmp_path / "r.parquet")]
    )
    assert ran.exit_code == 2
    assert ran.output.count("\n") == 1 and "there" in ran.output
    assert not list(tmp_path.glob("r.parquet*"))


def test_a_source_that_is_not_there_stops_no_other(folder, tmp_path):
    found = run(folder, tmp_path / "nowhere", out=tmp_path / "r.parquet")
    assert found.made == 4 and "nowhere is not there" in str(found.problems)


def test_a_results_file_that_is_none_is_refused_and_left_as_it_is(folder, tmp_path):
    out = tmp_path / "r.parquet"
    out.write_text("mine")
    with pytest.raises(DumpError, match="no results file"):
        run(folder, out=out)
    assert out.read_text() == "mine"
