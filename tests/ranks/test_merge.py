"""`triage merge`: ranks set beside each other by step, the first that left the others named.

Long because each way in which ranks can differ is a case of its own.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from triage.cli import main
from triage.dump.file import encode
from triage.dump.sections import Dump
from triage.errors import DumpError
from triage.evidence import Evidence
from triage.files.reports import schema_of
from triage.ranks import merge

STEPS, LANES = 10, ("swa", "full")


def history(*, wrong_from=None, table="page_table", last=STEPS, offset=0, ended=None, first=1):
    """The ring of a rank: two launches a step, steps `first` to `last`.

    wrong_from: the step from which `table` differs from the other ranks'. offset: checks that
    only this rank counted. ended: the newest step whose number is known.
    """
    entries = []
    for step in range(first, last + 1):
        for lane, space in enumerate(LANES):
            sequence = 2 * (step - 1) + lane
            prints = {
                name: 1000 * step + 10 * lane + place
                for place, name in enumerate(
                    ("page_table", "req_pool_indices", "cache_seqlens", "out_cache_loc")
                )
            }
            if wrong_from is not None and step >= wrong_from:
                prints[table] += 7
            entries.append(
                {
                    "space": space,
                    "sequence": sequence,
                    "launch": step - 1,
                    "checker_launch": sequence + offset,
                    "step": step if ended is None or step <= ended else None,
                    "layer_id": 0 if space == "swa" else 5,
                    "role": "target",
                    "forward_mode": "DECODE",
                    "graph": 1,
                    "rows": 2,
                    "torn": False,
                    "lost": "left out of the list",
                    "offenders": 0,
                    "cache_seqlens": np.array([3, 4], dtype=np.int32),
                    "fingerprint": prints,
                }
            )
    return tuple(entries)


def rank(
    tp,
    of=2,
    *,
    alarm=None,
    when="2026-11-30T12:00:00+0000",
    launcher=40,
    pid=None,
    ranks=None,
    **of_history,
):
    """The dump of a rank; `alarm`: the step of its own."""
    place = {"tp": tp, "tp_size": of, "pp": 0, "pp_size": 1} if ranks is None else ranks
    fault = Evidence("", "a snapshot that was asked for", "SIGUSR2", facts={"kind": "snap"})
    if alarm is not None:
        where = f"step {alarm}, checked launch {2 * alarm}"
        fault = Evidence("I2", "a page of another request", where, facts={"step": alarm})
    return Dump(
        fault,
        history=history(**of_history),
        provenance={
            "time": when,
            "pid": 100 + tp if pid is None else pid,
            "launcher": launcher,
            "ranks": place,
            "step": STEPS,
        },
    )


def write(folder, *dumps):
    folder.mkdir(exist_ok=True)
    for number, dump in enumerate(dumps):
        (folder / f"{number}.msgpack").write_bytes(encode(dump))
    return folder


def merged(folder, *dumps):
    return merge([write(folder, *dumps)])


@pytest.mark.parametrize("table", ["page_table", "req_pool_indices", "out_cache_loc"])
@pytest.mark.parametrize("wrong", [0, 2, 3])
def test_of_four_ranks_the_one_that_left_the_others_is_named_with_step_and_table(
    tmp_path, wrong, table
):
    # GIVEN four ranks, in the ring of one of which a table differs from step 7 on
    found = merged(
        tmp_path / "d",
        *(rank(tp, 4, wrong_from=7 if tp == wrong else None, table=table) for tp in range(4)),
    )
    # THEN it, the step and the table are named, by the majority, and no other table is
    (group,) = found.groups
    divergence = group.compared.divergence
    assert [place.tp for place in divergence.wrong] == [wrong] and divergence.basis == "majority"
    assert (divergence.step, divergence.tables, divergence.earlier) == (7, (table,), False)
    assert found.headline().startswith(f"tp {wrong} diverged first, at step 7: {table} differs")
    assert found.exit_code == 1


def test_of_two_ranks_fingerprints_alone_cannot_tell_and_a_trap_can(tmp_path):
    # GIVEN two ranks that differ from step 7 on, neither with an alarm
    silent = merged(tmp_path / "silent", rank(0), rank(1, wrong_from=7))
    # THEN both are named and nobody is blamed
    assert silent.groups[0].compared.divergence.wrong == ()
    assert "ranks tp 0, tp 1 differ first at step 7" in silent.headline()
    assert "which of them is wrong cannot be told from fingerprints alone" in silent.headline()
    # WHEN one of them raised an alarm at that step THEN it is named, and why
    for alarmed in (0, 1):
        told = merged(
            tmp_path / f"told{alarmed}",
            *(
                rank(tp, alarm=7 if tp == alarmed else None, wrong_from=7 * tp or None)
                for tp in (0, 1)
            ),
        )
        assert told.headline().startswith(f"tp {alarmed} diverged first, at step 7")
        assert told.headline().endswith("its own trap says so")
    # BUT an alarm of another step, or of both, says nothing of this one
    for number, alarms in enumerate(((None, 9), (7, 7))):
        other = merged(
            tmp_path / f"other{number}",
            rank(0, alarm=alarms[0]),
            rank(1, alarm=alarms[1], wrong_from=7),
        )
        assert "cannot be told" in other.headline()


def test_four_ranks_two_against_two_blame_nobody(tmp_path):
    found = merged(
        tmp_path / "d", *(rank(tp, 4, wrong_from=5 if tp > 1 else None) for tp in range(4))
    )
    assert found.groups[0].compared.divergence.wrong == () and "cannot be told" in found.headline()


def test_ranks_that_agree_are_said_to_with_what_was_compared(tmp_path):
    found = merged(tmp_path / "d", rank(0), rank(1))
    assert found.headline() == (
        "2 ranks agree in all 20 launches that were compared, steps 1 to 10"
    )
    assert found.exit_code == 0 and found.share() == "no rank raised an alarm or crashed"


def test_a_step_that_had_not_ended_on_one_rank_is_compared_all_the_same(tmp_path):
    # GIVEN that rank 0 was asked before it knew where steps 9 and 10 end
    found = merged(tmp_path / "d", rank(0, ended=8), rank(1, wrong_from=10))
    # THEN the checks' numbers, which both count alike, set the launches beside each other
    assert found.groups[0].compared.launches == 20
    assert found.groups[0].compared.divergence.step == 10
    # AND where none of them knows, that is said instead of a number
    neither = merged(tmp_path / "n", rank(0, ended=8), rank(1, wrong_from=10, ended=8))
    assert neither.groups[0].compared.divergence.step is None
    assert "a step that had not ended" in neither.headline()


def test_ranks_that_count_their_checks_differently_are_aligned_by_step(tmp_path):
    # GIVEN a rank whose checks began three numbers later
    found = merged(tmp_path / "d", rank(0, ended=9), rank(1, offset=3, wrong_from=6))
    # THEN only steps that ended are compared, and that is said
    assert found.groups[0].compared.launches == 18
    assert found.groups[0].compared.divergence.step == 6
    assert any("count their checks differently" in note for note in found.notes)


def test_a_divergence_older_than_a_ring_is_said_to_be_that_or_earlier(tmp_path):
    found = merged(tmp_path / "d", rank(0, first=4), rank(1, wrong_from=2))
    assert "at step 4 or earlier" in found.headline()
    assert any("6 launches are in the ring of one rank only" in note for note in found.notes)


def test_what_was_not_recorded_is_never_a_difference(tmp_path):
    # GIVEN a rank whose launches brought no requests, and one without locations
    one, other = rank(0), rank(1)
    for entry in one.history:
        entry["fingerprint"]["req_pool_indices"] = None
    for entry in other.history:
        entry["fingerprint"]["out_cache_loc"] = None
    assert merged(tmp_path / "d", one, other).exit_code == 0


def test_a_rank_that_launches_something_else_has_diverged(tmp_path):
    other = rank(1)
    for entry in other.history[8:]:
        entry["space"] = "draft swa"
    found = merged(tmp_path / "d", rank(0), other)
    assert "at step 5: the ranks launch different things" in found.headline()


def test_everything_that_is_not_used_is_counted_under_its_reason(tmp_path):
    # GIVEN two sound ranks of four, and beside them all that a directory can hold
    folder = write(tmp_path / "d", rank(0, 4), rank(1, 4, when="2026-11-30T12:09:00+0000"))
    whole = encode(rank(2, 4))
    (folder / "twice.msgpack").write_bytes((folder / "0.msgpack").read_bytes())
    (folder / "cut.msgpack").write_bytes(whole[: len(whole) // 2])
    (folder / ".snap.msgpack.0123456789abcdef.partial").write_bytes(whole[:50])
    (folder / "empty.msgpack").write_bytes(b"")
    (folder / "old.msgpack").write_bytes(encode(rank(0, ranks={})))
    bare = rank(3, 4)
    for entry in bare.history:
        del entry["fingerprint"]
    (folder / "bare.msgpack").write_bytes(encode(bare))
    earlier = rank(0, 4, launcher=7, pid=9, when="2026-11-29T12:00:00+0000", wrong_from=2)
    (folder / "earlier.msgpack").write_bytes(encode(earlier))
    torn = replace(rank(1, 4), history=(*rank(1, 4).history, {"torn": True, "sequence": 20}))
    (folder / "torn.msgpack").write_bytes(encode(torn))
    (folder / "newer.msgpack").write_bytes(whole.replace(b"\x01", b"\x02", 1))
    # WHEN they are merged
    found = merge([folder])
    # THEN the sound ones are compared and nothing else is passed over
    assert found.exit_code == 0 and found.groups[0].compared.launches == 20
    why = {path.name: reason for path, reason in found.reading.left_out.items()}
    assert found.reading.files == len(why) + found.as_dict()["used"] == 11
    assert why["twice.msgpack"] == "the same dump as 0.msgpack"
    assert why["earlier.msgpack"] == "of an earlier run of a server"
    assert why["old.msgpack"].startswith("its rank is not recorded")
    assert next(each for name, each in why.items() if "partial" in name).startswith("half-written")
    assert {"cut.msgpack", "empty.msgpack", "newer.msgpack"} <= set(why)
    assert all(
        why[name].startswith("cannot be read: ") for name in ("cut.msgpack", "empty.msgpack")
    )
    said = "\n".join(found.lines())
    assert "3 of 4 ranks have a dump; without: tp 2" in said and "tp 2: no dump" in said
    assert "1 dumps record no fingerprints" in said
    assert "540 s apart by their clocks" in said
    assert "1 launches were being written" in said
    assert all(name in said for name in why)


def test_the_order_of_files_does_not_matter(tmp_path):
    folder = write(
        tmp_path / "d", *(rank(tp, 4, wrong_from=6 if tp == 2 else None) for tp in range(4))
    )
    files = sorted(folder.iterdir())
    random.Random(0).shuffle(files)
    one, other = merge(files), merge([folder])
    assert one.headline() == other.headline() and one.share() == other.share()


def test_ranks_of_two_hosts_are_one_server_and_groups_are_compared_apart(tmp_path):
    # GIVEN ranks under two launchers, and two data-parallel groups with tables of their own
    hosts = merged(tmp_path / "hosts", rank(0), rank(1, launcher=77, wrong_from=3))
    assert "differ first at step 3" in hosts.headline()
    place = {"tp_size": 2, "dp_size": 2, "pp": 0}
    apart = merged(
        tmp_path / "dp",
        *(
            rank(
                tp,
                pid=10 * dp + tp,
                ranks={**place, "tp": tp, "dp": dp},
                wrong_from=1 if dp else None,
            )
            for dp in (0, 1)
            for tp in (0, 1)
        ),
    )
    # THEN what differs between groups is no divergence
    assert len(apart.groups) == 2 and apart.exit_code == 0
    assert any("2 groups" in note for note in apart.notes)


def test_causes_are_said_to_be_shared_only_where_all_name_the_same(tmp_path, monkeypatch):
    named = iter([("double-free",), ("double-free",), ("double-free",), ()])

    class Cause:
        def __init__(self, key):
            self.key = key

    class Explained:
        def __init__(self):
            self.named = [Cause(key) for key in next(named)]

    monkeypatch.setattr("triage.ranks.reading.explain", lambda dump: Explained())
    both = merged(tmp_path / "both", rank(0, alarm=5), rank(1, alarm=5))
    assert both.share().startswith("the cause is shared: tp 0: double-free; tp 1: double-free")
    one = merged(tmp_path / "one", rank(0, alarm=5), rank(1, alarm=5))
    assert "tp 1 raised an alarm or crashed, of a cause unknown" in one.share()
    assert "cannot be told" in one.share()


def test_nothing_to_compare_has_an_exit_code_of_its_own(tmp_path):
    one = merged(tmp_path / "d", rank(0))
    assert one.exit_code == 3 and one.headline().startswith("nothing to compare")
    for given, why in ((tmp_path / "none", "does not exist"), (tmp_path / "e", "holds no dump")):
        (tmp_path / "e").mkdir(exist_ok=True)
        with pytest.raises(DumpError, match=why):
            merge([given])


def test_the_command_prints_the_report_and_json_that_its_schema_knows(tmp_path):
    folder = write(tmp_path / "d", rank(0), rank(1, alarm=7, wrong_from=7))
    shown = CliRunner().invoke(main, ["merge", str(folder)])
    assert shown.exit_code == 1
    assert shown.output.splitlines()[0].startswith("tp 1 diverged first, at step 7")
    told = CliRunner().invoke(main, ["merge", str(folder), "--json"])
    found = json.loads(told.output)
    jsonschema.validate(found, schema_of("merge"))
    assert found["groups"][0]["diverged"]["wrong_tp_ranks"] == [1]


def test_reading_ranks_needs_no_torch(tmp_path):
    folder = write(tmp_path / "d", rank(0), rank(1))
    blocked = (
        "import sys; sys.modules['torch'] = None\n"
        "from triage.cli import main\n"
        f"main(['merge', {str(folder)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
