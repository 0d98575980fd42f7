"""Each class is named on its own evidence, and nothing is named on another's.

Long because it is one table of expectations: a class, and the dump that shows it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests import dumps_fixture as dumps
from triage.dump.observation import FACT, Failure, Form, Observation, as_fact
from triage.dump.sections import Dump, Ragged
from triage.evidence import Evidence, Violation
from triage.explain import RULES, explain, rules_allocation, rules_form, rules_rows, rules_space
from triage.explain.cause import Confidence
from triage.invariants.found import Found

SOUND_STATE = {"use_sliding_window_kv_pool": "True", "_swa_kv_pool": "SWAKVPool@7f00"}


def with_table(dump: Dump, table: np.ndarray) -> Dump:
    stored = np.diff(dump.tables.page_table.offsets)
    ragged = Ragged.of(table.astype(np.int32), stored)
    return replace(dump, tables=replace(dump.tables, page_table=ragged))


def with_facts(dump: Dump, **changes) -> Dump:
    tensors = dict(dump.launch.tensors)
    tensors["block_tables"] = replace(tensors["block_tables"], **changes)
    return replace(dump, launch=replace(dump.launch, tensors=tensors))


def right() -> Dump:
    return dumps.make_dump(dumps.SMALL, "right", swa_state=SOUND_STATE)


def own_pool_draft() -> Dump:
    dump = dumps.make_dump(dumps.SMALL, "right", swa_state=SOUND_STATE)
    pool = dump.pools.pools[0]
    pools = replace(dump.pools, pools=(pool,), read="full")
    launch = replace(dump.launch, num_pages=pool.num_pages)
    return replace(dump, pools=pools, launch=launch)


def narrow() -> Dump:
    dump = right()
    facts = dump.launch.tensors["block_tables"]
    width = 5
    table = Ragged.of(dump.tables.page_table.padded()[:, :width], np.full(4, width))
    dump = with_facts(dump, shape=(facts.shape[0], width), stride=(width, 1))
    return replace(dump, tables=replace(dump.tables, page_table=table))


def freed() -> Dump:
    state = dumps.make_state(dumps.SMALL)
    last = (state.lengths[0] - 1) // dumps.SMALL.page_size
    state.swa_page_of[state.full_pages[0, last]] = 0
    return dumps.make_dump(dumps.SMALL, "right", swa_state=SOUND_STATE, state=state)


def owned_twice() -> Dump:
    state = dumps.make_state(dumps.SMALL)
    last = (state.lengths - 1) // dumps.SMALL.page_size
    mine, other = state.full_pages[0, last[0]], state.full_pages[1, last[1]]
    assert last[0] != last[1]
    state.swa_page_of[other] = state.swa_page_of[mine]
    return dumps.make_dump(dumps.SMALL, "right", swa_state=SOUND_STATE, state=state)


def strange_row() -> Dump:
    dump = right()
    table = dump.tables.page_table.padded()
    table[2] = np.roll(table, 1, axis=0)[2]
    lengths = dump.tables.cache_seqlens.copy()
    lengths[1:3] = 160
    state = replace(dumps.make_state(dumps.SMALL), lengths=lengths)
    dump = dumps.make_dump(dumps.SMALL, "right", swa_state=SOUND_STATE, state=state)
    table = dump.tables.page_table.padded()
    table[2] = table[1]
    return with_table(dump, table)


def padded() -> Dump:
    dump = right()
    table = dump.tables.page_table.padded()
    table[3] = 500
    backend = replace(dump.backend, batch_size=3, padded_batch_size=4)
    return replace(with_table(dump, table), backend=backend)


def exposed() -> Dump:
    # The whole context is visible, so every page of it must be mapped.
    sizes = replace(dumps.SMALL, rows=1, window=4096, head_dim=128)
    dump = dumps.make_dump(sizes, "right", swa_state=SOUND_STATE)
    launch = replace(dump.launch, window_left=-1, max_seq_len=9216)
    kernel = "fmhaSm100fKernel_QkvBfloat16OBfloat16H128PagedKvCausalP16VarSeqQ8Kv128"
    seen = Observation(Form.SANITIZER, Failure.ILLEGAL_ADDRESS, kernel=kernel)
    fault = Evidence("", "", "", facts={FACT: as_fact([seen])})
    provenance = {"versions": {"flashinfer-python": "0.6.12"}}
    return replace(dump, launch=launch, fault=fault, provenance=provenance)


def reads_past_the_cached(missing: int = 32) -> Dump:
    dump = right()
    cached = [int(length) - missing for length in dump.tables.cache_seqlens]
    return replace(dump, fault=Evidence("I2", "a slot", "fa2 launch 7", facts={"cached": cached}))


CASES = {
    "stale-swa-state": (lambda: dumps.make_dump(dumps.E4B), Confidence.HIGH),
    "full-ids-in-swa-layer": (
        lambda: dumps.make_dump(dumps.E4B, swa_state=SOUND_STATE, role="target"),
        Confidence.MEDIUM,
    ),
    "own-pool-draft-translated": (own_pool_draft, Confidence.HIGH),
    "slots-as-pages": (
        lambda: dumps.make_dump(dumps.E4B, "page starts", swa_state=SOUND_STATE),
        Confidence.HIGH,
    ),
    "divided-twice": (
        lambda: dumps.make_dump(dumps.E4B, "divided twice", swa_state=SOUND_STATE),
        Confidence.HIGH,
    ),
    "narrow-table": (narrow, Confidence.HIGH),
    "misread-table": (lambda: with_facts(right(), dtype="int64"), Confidence.HIGH),
    "freed-page": (freed, Confidence.MEDIUM),
    "page-owned-twice": (owned_twice, Confidence.MEDIUM),
    "padded-row": (padded, Confidence.HIGH),
    "other-requests-row": (strange_row, Confidence.MEDIUM),
    "unwritten-slots-read": (reads_past_the_cached, Confidence.HIGH),
    "known-kernel-defect": (exposed, Confidence.LOW),
}


TOO = {
    "freed-page": {"stale-mapping"},
    "page-owned-twice": {"stale-mapping"},
}
"""Classes that leave the same facts in a dump: both are named, and neither as certain."""


@pytest.mark.parametrize("key", CASES)
def test_a_class_is_named_on_its_own_evidence(key):
    make, confidence = CASES[key]

    explanation = explain(make())

    assert {cause.key for cause in explanation.named} == {key} | TOO.get(key, set())
    assert explanation.status == ("ambiguous" if key in TOO else "named")
    for cause in explanation.named:
        assert cause.confidence == confidence
        assert cause.evidence and cause.refuted_by and cause.fix
        # THEN what is not recorded is said, and only there
        assert bool(cause.not_recorded) == (key in TOO or key == "known-kernel-defect")


def test_every_rule_has_a_case():
    # GIVEN that six rules name a class which another rule names as well
    for_another = {rules_allocation.mapping_lost, rules_allocation.mapping_shares_a_page}
    for_another |= {rules_form.lengths_past_the_maximum, rules_rows.divided_to_nothing}
    for_another |= {rules_space.slots_by_their_values, rules_allocation.evicted_at_the_edge}
    assert len(CASES) == len(set(RULES) - for_another)


@pytest.mark.parametrize(
    ("invariant", "kind", "key"),
    [
        ("I20", Found.SLOT_OUTSIDE_POOL, "illegal-allocation"),
        ("I12", Found.LENGTH_NOT_THE_BATCHES, "lengths-disagree"),
    ],
)
def test_a_fault_that_no_table_shows_is_named_from_its_record(invariant, kind, key):
    violation = Violation(invariant, "swa slots", 0, 0, value=3, low=16, high=560, kind=kind)
    fault = Evidence(invariant, "what was seen", "alloc_decode", "swa", violations=(violation,))

    explanation = explain(Dump(fault=fault))

    assert [cause.key for cause in explanation.named] == [key]
    assert explanation.named[0].confidence is Confidence.MEDIUM
    assert explanation.named[0].rows[0].value == 3
    assert explanation.named[0].rows[0].tensor == "swa slots"


def recorded(invariant, kind="", value=0, expected=None, summary="what was seen", **facts):
    """A dump of a fault without a launch, `facts` as the finding carries them."""
    seen = (Violation(invariant, "a tensor", 0, 0, value, 16, 560, expected, kind=kind),)
    return Dump(fault=Evidence(invariant, summary, "a call", violations=seen, facts=facts))


def freed_twice(before, now):
    owners = {"freed before as pages of": before, "freed now with pages of": now}
    return recorded("I6", Found.FREED_TWICE, **owners)


FEW_PAGES = replace(dumps.SMALL, rows=1, swa_pages=15)


@pytest.mark.parametrize(
    ("dump", "keys", "confidence"),
    [
        (recorded("I17", Found.USED_AFTER_FREE), ["freed-page"], Confidence.HIGH),
        (recorded("I17", Found.USED_NEVER_ALLOCATED), ["page-of-nobody"], Confidence.HIGH),
        (recorded("I16", Found.USED_AFTER_FREE), ["freed-page"], Confidence.HIGH),
        (
            recorded("I16", Found.LIVE_NODE_NOT_MAPPED),
            ["tree-and-mapping-disagree"],
            Confidence.HIGH,
        ),
        (recorded("I5", Found.ALIASED_POSITIONS), ["page-owned-twice"], Confidence.HIGH),
        (
            recorded("I26", Found.FORM_NOT_READ, misread="cache_seqlens"),
            ["misread-table"],
            Confidence.HIGH,
        ),
        (recorded("I26", Found.FORM_NOT_READ, misread=""), [], None),
        (
            recorded("I20", Found.LAST_LOC_PLACE, 256, 259, rows_with_that_page=[2]),
            ["page-owned-twice", "wrong-last-loc"],
            Confidence.MEDIUM,
        ),
        (
            recorded("I20", Found.LAST_LOC_EARLIER, 256, 259, rows_with_that_page=[3]),
            ["wrong-last-loc"],
            Confidence.MEDIUM,
        ),
        (
            recorded("I20", Found.LAST_LOC_NOT_IN_ROWS, 256, rows_with_that_page=[]),
            ["wrong-last-loc"],
            Confidence.MEDIUM,
        ),
        (
            recorded("I20", Found.ROW_LEAVES_ITS_PAGE, rows_with_that_page=[2]),
            ["page-owned-twice"],
            Confidence.MEDIUM,
        ),
        (
            recorded("I20", Found.ROW_NOT_AS_WRITTEN, rows_with_that_page=[]),
            ["row-written-wrongly"],
            Confidence.MEDIUM,
        ),
        (recorded("I20", Found.SLOT_OUTSIDE_POOL), ["illegal-allocation"], Confidence.MEDIUM),
        (recorded("I6", Found.UNMAPPED_HELD_PAGE), ["stale-mapping"], Confidence.HIGH),
        (recorded("I8", Found.MAPPING_NOT_OF_ALLOCATION, 256), ["stale-mapping"], Confidence.HIGH),
        (
            recorded("I8", Found.MAPPING_NOT_OF_ALLOCATION, 0),
            ["mapping-not-written"],
            Confidence.HIGH,
        ),
        (recorded("I3", Found.WRITE_NOT_OWN_SLOT, 256, 257), ["foreign-write"], Confidence.HIGH),
        (recorded("I3", Found.WRITE_NOT_OWN_SLOT, 256, 0), [], None),
        (freed_twice([3], [3]), ["double-free"], Confidence.HIGH),
        (freed_twice([3], []), ["double-free"], Confidence.HIGH),
        (freed_twice([3], [1]), ["page-owned-twice", "double-free"], Confidence.MEDIUM),
    ],
)
def test_a_class_is_named_by_what_the_ledger_and_the_checks_say_of_it(dump, keys, confidence):
    # WHEN a fault is explained that has no launch
    explanation = explain(dump)
    # THEN its facts decide, and where they fit nothing it is unknown
    assert [cause.key for cause in explanation.named] == keys
    assert {cause.confidence for cause in explanation.named} == ({confidence} if keys else set())
    assert keys or explanation.status == "unknown"


def test_a_launch_whose_table_is_sound_shows_the_recorded_fault():
    fault = Evidence(
        "I26",
        "cache_seqlens is torch.int64",
        "",
        facts={"misread": "cache_seqlens"},
        kind=Found.FORM_NOT_READ,
    )
    explanation = explain(replace(right(), fault=fault))
    assert [cause.key for cause in explanation.named] == ["misread-table"]
    assert explanation.observed[0] == "I26: cache_seqlens is torch.int64"


@pytest.mark.parametrize(
    ("sizes", "keys"),
    [
        (FEW_PAGES, {"other-requests-row", "divided-twice"}),
        (dumps.E4B, {"other-requests-row"}),
    ],
    ids=["ids too small to tell", "ids that a division leaves apart"],
)
def test_a_table_of_dummy_pages_is_of_nobody_or_divided_once_too_often(sizes, keys):
    dump = dumps.make_dump(sizes, "right", swa_state=SOUND_STATE)
    empty = with_table(dump, np.zeros_like(dump.tables.page_table.padded()))

    explanation = explain(empty)

    assert {cause.key for cause in explanation.named} == keys
    assert {cause.confidence for cause in explanation.named} == {Confidence.MEDIUM}


def test_the_frozen_kv_defect_cites_rows_links_upstream_and_proposes_the_fix():
    (cause,) = explain(dumps.make_dump(dumps.E4B)).named

    assert cause.name == "SWA state not swapped with the pool"
    assert cause.fix == "SGLANG_TRIAGE_FIXES=state-swap"
    assert any("sgl-project/sglang/issues/26957" in link for link in cause.links)
    dump = dumps.make_dump(dumps.E4B)
    table = dump.tables.page_table.padded()
    for citation in cause.rows:
        assert table[citation.row, citation.column] == citation.value != citation.expected


def test_rows_that_end_with_what_is_cached_or_hold_foreign_slots_are_not_called_unwritten():
    ends_there, foreign = reads_past_the_cached(missing=0), reads_past_the_cached()
    foreign = with_table(foreign, np.roll(foreign.tables.page_table.padded(), 1, axis=0))
    for dump in (ends_there, foreign):
        assert "unwritten-slots-read" not in {cause.key for cause in explain(dump).causes}


def test_a_sound_launch_is_clean():
    explanation = explain(right())

    assert explanation.status == "clean"
    assert explanation.observed == ()


def test_ids_that_fit_no_class_are_unknown():
    dump = right()
    table = np.random.default_rng(5).integers(1, 79, dump.tables.page_table.padded().shape)

    explanation = explain(with_table(dump, table))

    assert explanation.status == "unknown"
    assert explanation.observed


def test_a_dump_without_a_launch_is_unknown():
    assert explain(replace(right(), launch=None, tables=None)).status == "unknown"


def test_two_causes_that_fit_equally_are_both_named():
    mixed = {"use_sliding_window_kv_pool": "True", "_swa_kv_pool": "None"}

    explanation = explain(dumps.make_dump(dumps.E4B, swa_state=mixed))

    assert explanation.status == "ambiguous"
    assert {cause.key for cause in explanation.named} == {
        "stale-swa-state",
        "full-ids-in-swa-layer",
    }


def test_a_shared_prefix_is_no_double_ownership():
    state = dumps.make_state(dumps.SMALL)
    state.full_pages[1, :6] = state.full_pages[0, :6]
    in_reach = state.full_pages[0, 3:6]
    state.swa_page_of[in_reach] = np.where(
        state.swa_page_of[in_reach] == 0, [78, 79, 80], state.swa_page_of[in_reach]
    )
    dump = dumps.make_dump(dumps.SMALL, "right", swa_state=SOUND_STATE, state=state)

    assert "page-owned-twice" not in {cause.key for cause in explain(dump).causes}


@pytest.mark.parametrize("kind", ["full ids", "page starts", "divided twice"])
@pytest.mark.parametrize("seed", range(5))
def test_no_seed_makes_another_class_outrank_the_true_one(kind, seed):
    sizes = replace(dumps.SMALL, seed=seed)
    keys = {
        "full ids": "stale-swa-state",
        "page starts": "slots-as-pages",
        "divided twice": "divided-twice",
    }

    explanation = explain(dumps.make_dump(sizes, kind))

    assert keys[kind] in {cause.key for cause in explanation.named}
    assert all(
        cause.key == keys[kind]
        for cause in explanation.causes
        if cause.confidence is Confidence.HIGH
    )
