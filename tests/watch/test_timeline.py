"""What a history says, and that a history out of a file is never trusted."""

from __future__ import annotations

import numpy as np
import pytest

from triage.dump.history import faulting, launch_summaries, since
from triage.dump.sections import Dump
from triage.evidence import Evidence
from triage.explain import explain


def entry(launch, offenders, **more):
    lengths = np.array([9, 40], dtype=np.int32)
    return {
        "sequence": launch,
        "checker_launch": launch,
        "offenders": offenders,
        "cache_seqlens": lengths,
        **more,
    }


def dump(*entries, kind="crash"):
    return Dump(Evidence("", "CUDA error", "event loop", facts={"kind": kind}), history=entries)


@pytest.mark.parametrize(
    ("offenders", "kind", "says"),
    [
        ([0, 0, 0], "crash", "no id was wrong in the 3 launches to the end, launch 2"),
        ([0, 4, 4], "crash", "ids were wrong since launch 1, the fault came after launch 2"),
        ([0, 4, 9], "snap", "ids were wrong since launch 1, the ring ends at launch 2"),
        ([0, 0, 1], "crash", "ids were wrong at launch 2, the last one recorded"),
        ([None, None, None], "crash", "3 launches are recorded, unchecked, to launch 2"),
    ],
)
def test_one_sentence_says_since_when(offenders, kind, says):
    assert since(dump(*map(entry, range(3), offenders), kind=kind)) == says


def test_an_offence_older_than_the_ring_says_so():
    assert "since launch 812 or earlier" in since(dump(entry(812, 3), entry(1904, 3)))


def test_a_dump_without_history_says_nothing():
    assert since(dump()) == ""


def test_a_crash_is_explained_by_the_stale_state_of_the_first_wrong_launch():
    wrong = entry(812, 3, stale="_swa_kv_pool is None", role="draft", space="swa", layer_id=7)
    explanation = explain(dump(entry(811, 0), wrong, entry(1904, 3)))
    (cause,) = explanation.named
    assert cause.key == "stale-swa-state"
    assert cause.evidence[0] == (
        "ids were wrong since launch 812, the fault came after launch 1904"
    )


def test_a_crash_without_a_wrong_id_is_unknown_and_says_that():
    explanation = explain(dump(entry(0, 0), entry(1, 0)))
    assert explanation.status == "unknown"
    assert "no id was wrong in the 2 launches" in explanation.observed[1]


@pytest.mark.parametrize(
    "strange", [{}, {"offenders": "x", "sequence": [], "cache_seqlens": b"\x00", "step": True}]
)
def test_a_strange_entry_reads_as_not_known(strange):
    (moment,) = launch_summaries([strange])
    assert (moment.sequence, moment.step, moment.longest, moment.fresh) == (0, None, 0, 0)


def table(ids, pages=35, **more):
    return {"table_values": np.array(ids, dtype=np.int32), "num_pages": pages, **more}


def crashed(*entries):
    shown, why = faulting(entries)
    told = {"sequence": shown["sequence"], "step": shown.get("step"), "why": why}
    facts = {"kind": "crash", "faulted": told}
    return Dump(Evidence("", "CUDA error", "event loop", facts=facts), history=entries)


def test_the_fault_is_told_with_the_steps_since_ids_were_first_wrong():
    # GIVEN launches of steps 11 to 22, wrong since launch 34, the last step never judged
    entries = [
        entry(33, 0, step=10, **table([4])),
        entry(34, 4, step=11, **table([22])),
        entry(504, 9, step=22, **table([29])),
        entry(505, 10, step=None, **table([29, 35])),
    ]
    # THEN the launch whose table leaves its pool is the one that faulted
    assert since(crashed(*entries)) == (
        "ids were wrong since launch 34 (step 11), 12 steps before the fault at launch 505"
    )


def test_a_launch_recorded_after_the_one_that_faulted_is_not_taken_for_it():
    entries = [
        entry(7, 2, step=3, **table([40])),
        entry(8, 2, step=3, **table([5])),
        entry(9, 2, step=4, **table([6])),
    ]
    shown, why = faulting(entries)
    assert shown["sequence"] == 7 and "outside its pool" in why
    assert faulting([entry(1, 0)]) == (None, "")


def test_an_old_table_outside_its_pool_is_not_the_fault_of_a_later_step():
    entries = [entry(1, 2, step=3, **table([40])), entry(9, 2, step=30, **table([6]))]
    shown, why = faulting(entries)
    assert shown["sequence"] == 9 and "newest" in why


def test_lines_of_a_canary_in_an_old_history_are_no_launches():
    assert launch_summaries([{"source": "kv_canary", "slot": 4}, entry(3, 0)])[0].check == 3
