"""The short form of `make torture`: the same code, fewer inputs."""

from __future__ import annotations

import contextlib
import json
import random

import pytest

from tests import prepared
from tests.torture.filled import ALL, unfilled
from tests.torture.kills import STAGES, kill_at_random, kill_at_stages
from tests.torture.long import DEFECT, survived, told_once
from tests.torture.mutations import mutated
from tests.torture.targets import COMMANDS, TARGETS, Tally, command
from triage.dump.file import decode, encode
from triage.errors import DumpError


@pytest.mark.parametrize(("name", "inputs"), [("reader", 1500), ("importer", 400)])
def test_whatever_the_input_a_result_or_an_error_of_ours_comes_of_it(name, inputs):
    target, seeds = TARGETS[name]
    corpus, tally, rng = seeds(), Tally(), random.Random(26957)
    for content in corpus:
        with contextlib.suppress(DumpError):  # one folder does not say the cache's shape
            target(content)
    for _ in range(inputs):
        tally.take(target, mutated(rng, rng.choice(corpus)))
    assert tally.wrong == {}, tally.samples  # too much time or memory is wrong too
    assert tally.results > inputs / 50 and tally.refused > inputs / 50


def test_what_a_reader_is_fuzzed_with_has_every_field_that_a_dump_can_have():
    seeds = [decode(content) for content in TARGETS["reader"][1]()]
    assert unfilled(seeds) == set()
    # AND each such dump is read, judged and shown as it is, by every command
    for made in ALL:
        assert unfilled([decode(encode(made()))]) <= unfilled([made()])
        content = encode(made())
        for number in range(len(COMMANDS)):
            command(content, number)


def test_killed_writers_tear_no_file_and_leave_nothing(tmp_path):
    assert kill_at_random(tmp_path / "random", 40)["torn"] == 0
    assert kill_at_random(tmp_path / "random", 1)["leftovers"] == 0
    assert kill_at_stages(tmp_path / "stages") | {"files": 0} == {
        "kills": len(STAGES),
        "files": 0,
        "torn": 0,
        "leftovers": 0,
    }


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("mode", "defect"),
    [
        ("raise", [DEFECT]),
        pytest.param("raise", [], marks=SLOW),
        pytest.param("contain", [DEFECT], marks=SLOW),
        pytest.param("log", [], marks=SLOW),
    ],
)
def test_an_error_at_a_call_of_our_hooks_changes_nothing_of_what_sglang_does(mode, defect):
    # GIVEN a run without traps, and one error at every 60th of the calls our hooks make
    command = ("-m", "tests.torture.inject_child", mode, *defect)
    done = prepared.python(*command, "--every", 60, "--seed", 7, timeout=400)
    plain, clean, *injected = map(json.loads, done.stdout.splitlines())
    raises = bool(defect) and mode != "log"  # which never does
    assert not clean["not_covered"] and bool(clean["trapped"]) is raises
    assert defect or clean["digest"] == plain["digest"]
    assert len(injected) >= 3 and all(each["of"] > 150 for each in injected)
    for each in injected:
        # THEN SGLang's own tables and launches are the same, what was found by then is raised,
        # and the error was told, once
        assert each.get("injected") and "raised" not in each, each
        assert survived(each, plain, clean) and told_once(each), each


def test_a_run_that_goes_otherwise_or_loses_its_trap_is_no_survivor():
    plain = {"outcome": "clean", "digest": "a", "launches": 9, "trapped": None}
    clean = {"outcome": "trapped", "digest": "b", "launches": 5, "trapped": "StaleSWAState"}
    assert survived({**plain, "judged": False}, plain, clean)
    assert survived({**clean, "judged": True, "trapped": "TrapError"}, plain, clean)
    assert not survived({**plain, "judged": True}, plain, clean)
    assert not survived({**plain, "digest": "c"}, plain, clean)
    assert not survived({"raised": "Injected"}, plain, clean)
