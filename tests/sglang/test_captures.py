"""Drafts' graphs: the check is recorded between the refill and the attention, once per table.

SGLang's own graph runner, backends, views and pools; the capture itself is a stub
(`capture_child.py` names what is).
"""

from __future__ import annotations

import functools
import json

import pytest

from tests import prepared
from triage.dump.file import read_dump
from triage.explain import explain
from triage.invariants.found import Found

VERSIONS = ("0.5.18", "0.5.14")
KINDS = "frozen,multi-step,decode,verify"
REFILLS_IN_GRAPH = {"0.5.18": True, "0.5.14": False}  # from 0.5.15.post1 on


@pytest.fixture(scope="module")
def captured(tmp_path_factory):
    """`captured(version, kind, *options)` -> what the child says of that kind of draft."""
    directory = tmp_path_factory.mktemp("captures")

    @functools.cache
    def child(version, kinds, *options):
        command = ("-m", "tests.sglang.capture_child", kinds, directory)
        done = prepared.python(*command, *options, version=version)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def run(version, kind, *options, mode="contain"):
        found = child(version, kind if options else KINDS, mode, *options)[kind]
        assert found["sglang"] == version
        assert found["alarm"] is None or kind == "left-view", found["alarm"]
        return found

    return run


def recorded(found):
    """The events of the capture itself, warm-ups left out."""
    return [event for event in found["events"] if event["captured"]]


def warmed_up(found):
    """Were the kernels of every recorded check launched outside the capture first?"""
    kinds = [event["kind"] for event in found["events"] if not event["captured"]]
    return kinds.count("check") >= [e["kind"] for e in recorded(found)].count("check")


def check_order(events, refills):
    """Each launch reads the copy that its table's check fills, checked behind the refill."""
    checked = {}
    assert [event["kind"] for event in events].count("refill") == refills
    seen = 0
    for event in events:
        if event["kind"] == "refill":
            assert not checked, "a table is refilled behind its check"
            seen += 1
        elif event["kind"] == "check":
            assert seen == refills
            checked[event["table"]] = event["safe"]
        else:
            table = event["swa"] if event["window"] >= 0 else event["full"]
            assert event["given"] == checked[table]


@pytest.mark.parametrize("mode", ["contain", "raise"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_frozen_draft_is_checked_once_per_table_in_its_graph(captured, version, mode):
    found = captured(version, "frozen", mode=mode)
    events = recorded(found)
    # THEN twelve launches of three steps share two checks, one per index space
    assert [event["kind"] for event in events].count("attention") == 12
    checks = [event for event in events if event["kind"] == "check"]
    assert len({event["table"] for event in checks}) == len(checks) == 2
    assert found["counts"]["tables under capture"] == 2
    assert {event["graph"] for event in checks} == {1}
    check_order(events, refills=int(REFILLS_IN_GRAPH[version]))
    assert "launches not covered" not in found["counts"]
    assert warmed_up(found)


@pytest.mark.parametrize("mode", ["contain", "raise"])
@pytest.mark.parametrize("kind", ["decode", "verify"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_targets_graph_is_contained_in_the_default_mode_too(captured, version, kind, mode):
    # WHEN the target's decode or verify is captured, in which a read by our code would raise
    found = captured(version, kind, mode=mode)
    events = recorded(found)
    # THEN one check per index space is recorded, and each launch is given the checked copy
    checks = [event for event in events if event["kind"] == "check"]
    assert len({event["table"] for event in checks}) == len(checks) == 2
    check_order(events, refills=int(REFILLS_IN_GRAPH[version]))
    assert found["counts"]["tables under capture"] == 2
    assert "launches not covered" not in found["counts"]
    assert "writes not covered" not in found["counts"]
    # AND both kernels ran in a warm-up: none may be compiled or loaded under a capture
    assert warmed_up(found)
    if kind == "decode":
        assert found["writes"]["warm-up"] >= found["writes"]["captured"] > 0


@pytest.mark.parametrize("mode", ["contain", "raise"])
@pytest.mark.parametrize("version", VERSIONS)
def test_each_step_of_a_multi_step_draft_has_its_own_check(captured, version, mode):
    found = captured(version, "multi-step", mode=mode)
    events = recorded(found)
    # THEN the backends of both steps have a table and a check, each right before its launch
    checks = [event for event in events if event["kind"] == "check"]
    assert len({event["table"] for event in checks}) == len(checks) == 2
    behind = [event["kind"] for event in events if event["kind"] != "refill"]
    assert behind == ["check", "attention"] * 2
    check_order(events, refills=2 * REFILLS_IN_GRAPH[version])
    assert "launches not covered" not in found["counts"]
    assert warmed_up(found)


def test_a_stale_draft_is_captured_with_the_full_table_and_the_check_says_so(captured):
    events = recorded(captured("0.5.18", "frozen", "stale-swa-state"))
    checks = [event for event in events if event["kind"] == "check"]
    # GIVEN the defect, THEN one table serves both spaces and is still checked for each
    assert len({event["table"] for event in checks}) == 1 and len(checks) == 2
    assert all("SWA state was taken from another pool" in event["stale"] for event in checks)


def test_the_fix_holds_through_the_whole_capture(captured):
    found = captured("0.5.18", "frozen", "stale-swa-state", "state-swap")
    events = recorded(found)
    # THEN the graph reads a table of its own for sliding layers, refilled inside the capture
    checks = [event for event in events if event["kind"] == "check"]
    assert len({event["table"] for event in checks}) == len(checks) == 2
    assert not any(event["stale"] for event in checks)
    check_order(events, refills=1)
    assert found["fixes"]["state-swap"] > 0


@pytest.mark.parametrize("mode", ["contain", "raise"])
def test_metadata_that_are_recorded_outside_of_the_view_are_told_before_the_first_replay(
    tmp_path, mode
):
    # GIVEN a frozen draft whose metadata are prepared under its view, and recorded outside of it
    command = ("-m", "tests.sglang.capture_child", "left-view", tmp_path, mode)
    done = prepared.python(*command, version="0.5.18")
    assert done.returncode == 0, done.stderr
    # THEN the capture does not end, and what is wrong with the lengths is said
    invariant, kind, summary = json.loads(done.stdout.splitlines()[-1])["left-view"]["alarm"]
    assert (invariant, kind) == ("I29", Found.RECORDED_FOR_ANOTHER_VIEW)
    assert "spec_info True, not False" in summary and "1 too long" in summary
    (named,) = explain(read_dump(next(tmp_path.glob("*.msgpack")))).named
    assert (named.key, named.confidence.name) == ("draft-graph-of-another-view", "HIGH")
