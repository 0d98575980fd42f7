"""What another tool saw leads to the table or away from it; what is absent decides nothing.

Long because each kind of observation is weighed against the same few dumps.
"""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from tests import dumps_fixture as dumps
from tests.importers import texts
from triage.dump.sections import Dump
from triage.evidence import Evidence
from triage.explain import explain
from triage.explain.case import LaunchCase
from triage.explain.cause import Cause, Confidence
from triage.explain.observed import Relation, related
from triage.explain.together import Input, together, with_observations
from triage.explain.weighing import weigh
from triage.importers.recognise import read_log

SOUND = {"use_sliding_window_kv_pool": "True", "_swa_kv_pool": "SWAKVPool@7f00"}


def apart(dump: Dump) -> Dump:
    """With V at an address of its own, as a GPU has it."""
    tensors = dict(dump.launch.tensors)
    tensors["v_cache"] = replace(tensors["v_cache"], data_ptr=0x7F1200000000)
    return replace(dump, launch=replace(dump.launch, tensors=tensors))


def wrong_table() -> Dump:
    return apart(dumps.make_dump(dumps.E4B))


def sound(role="target") -> Dump:
    dump = apart(dumps.make_dump(dumps.E4B, "right", role=role, swa_state=SOUND))
    return replace(dump, fault=Evidence("", "a snapshot", "snap", facts={"kind": "snap"}))


def without_addresses(dump: Dump) -> Dump:
    tensors = {
        name: replace(facts, data_ptr=0) if name.endswith("cache") else facts
        for name, facts in dump.launch.tensors.items()
    }
    pools = replace(dump.pools, pools=tuple(replace(pool, extents=()) for pool in dump.pools.pools))
    return replace(dump, launch=replace(dump.launch, tensors=tensors), pools=pools)


def page_address(dump: Dump, page: int, offset: int = 96) -> int:
    facts = dump.launch.tensors["k_cache"]
    return facts.data_ptr + page * (facts.storage_bytes // dump.launch.num_pages) + offset


WRONG_PAGE = 10742  # in the table of `wrong_table`, beyond its cache
FMHA = "fmhaSm100aKernel_QkvBfloat16OBfloat16H256PagedKvSlidingOrChunkedCausalP64VarSeqQ8Kv128"


def sanitizer(kernel: str, address: int | None, access: str = "read", size: int = 16) -> str:
    text = f"========= Invalid __global__ {access} of size {size} bytes\n"
    text += f"=========     at {kernel}+0x1c0\n"
    return text + (
        "" if address is None else f"=========     Access to {address:#x} is out of bounds\n"
    )


def seen_in(dump: Dump, text: str) -> Dump:
    observations = read_log(io.BytesIO(text.encode()), "a log").observations
    assert observations
    return with_observations(dump, observations)


def named(dump: Dump) -> list[str]:
    return [cause.key for cause in explain(dump).named]


def test_a_read_of_a_page_that_the_table_names_leaves_the_cause_as_sure():
    dump = wrong_table()
    explanation = explain(seen_in(dump, sanitizer(FMHA, page_address(dump, WRONG_PAGE))))
    assert [cause.key for cause in explanation.named] == ["stale-swa-state"]
    assert explanation.named[0].confidence is Confidence.HIGH
    assert explanation.related[0].relation is Relation.NAMED


MOE = "bmm_E4m3_E4m3_Fp32_t128x8x512"

AWAY = {
    "another kernel": (sanitizer(MOE, 0x7E0000001000), Relation.OTHER_KERNEL),
    "a KV store": (sanitizer("store_kv_cache_kernel", 0x7F0000001000, "write"), Relation.WRITE),
    "a write of the driver's": (texts.XID_31.format(kind="WRITE"), Relation.WRITE),
    "an address elsewhere": (sanitizer(FMHA, 0x10000), Relation.ELSEWHERE),
    "a kernel of other pages": (
        sanitizer(FMHA.replace("P64", "P32"), 0x10000),
        Relation.OTHER_KERNEL,
    ),
    "a layer without a window": (
        sanitizer(FMHA.replace("SlidingOrChunkedCausal", "Causal"), 0x10000),
        Relation.OTHER_KERNEL,
    ),
    "another backend": (sanitizer("flash_fwd_splitkv_kernel", 0x10000), Relation.OTHER_KERNEL),
    "a core dump of another kernel": (texts.CORE, Relation.OTHER_KERNEL),
    "shared memory": (
        sanitizer(FMHA, None).replace("__global__", "__shared__"),
        Relation.NOT_GLOBAL,
    ),
}


@pytest.mark.parametrize("what", AWAY)
def test_a_report_that_leads_away_takes_the_name_from_the_table(what):
    text, relation = AWAY[what]
    explanation = explain(seen_in(wrong_table(), text))
    assert explanation.related[0].relation is relation
    # THEN nothing is named for the fault, and what the table shows stands beside it
    assert explanation.status == "unknown" and not explanation.named
    assert [cause.key for cause in explanation.beside] == ["stale-swa-state"]


@pytest.mark.parametrize("what", AWAY)
def test_a_report_beside_a_sound_launch_is_told_and_not_clean(what):
    explanation = explain(seen_in(sound(), AWAY[what][0]))
    assert explanation.status == "unknown"
    assert explanation.observed and not explanation.named


UNDECIDED = {
    "no address": sanitizer(FMHA, None),
    "Xid 13": texts.XID_13.replace("Out Of Range Address", "MMU Fault"),
    "the host's message": texts.ASYNC,
    "a live debugger": texts.GDB_LIVE.replace(texts.FMHA, FMHA),
}


@pytest.mark.parametrize("what", UNDECIDED)
def test_a_report_that_decides_nothing_leaves_a_cause_at_most_medium(what):
    explanation = explain(seen_in(wrong_table(), UNDECIDED[what]))
    assert explanation.related[0].relation is Relation.CANNOT_TELL
    (cause,) = explanation.named
    assert cause.confidence is Confidence.MEDIUM
    assert "whether the reported fault belongs to this launch" in cause.not_recorded


def test_a_dump_without_addresses_says_that_and_not_that_it_lies_elsewhere():
    dump = without_addresses(wrong_table())
    (seen,) = related(seen_in(dump, texts.XID_31.format(kind="READ")))
    assert seen.relation is Relation.CANNOT_TELL
    assert "the dump holds no cache addresses" in seen.sentences[0]
    assert seen.missing == ("the caches' addresses",)


def test_the_nearest_allocation_tells_where_the_cache_lies():
    # GIVEN a dump that holds no addresses, and a report whose nearest allocation is as large
    dump = wrong_table()
    size = dump.launch.tensors["k_cache"].storage_bytes
    base = 0x7D0000000000
    page = size // dump.launch.num_pages
    address = base + WRONG_PAGE * page + 32
    text = sanitizer(FMHA, address) + (
        f"=========     and is {address - base - size:,} bytes after the nearest allocation at "
        f"{base:#x} of size {size:,} bytes\n"
    )
    # WHEN they are set side by side
    (seen,) = related(seen_in(without_addresses(dump), text))
    # THEN the address is a page of that cache, and the table names it
    assert seen.relation is Relation.NAMED
    assert seen.page_id == WRONG_PAGE and (0, 127) in seen.entries


def test_a_write_names_the_slot_it_went_to():
    dump = sound()
    page_size = dump.launch.page_size
    per_token = dump.launch.tensors["k_cache"].storage_bytes // dump.launch.num_pages // page_size
    address = dump.launch.tensors["k_cache"].data_ptr + 700_001 * per_token + 4
    (seen,) = related(seen_in(dump, sanitizer("store_kv_cache_kernel", address, "write")))
    assert "slot 700001 of k_cache" in " ".join(seen.sentences)
    assert "out_cache_loc of that forward" in seen.missing


def test_a_published_defect_is_not_named_for_another_kernels_fault():
    sizes = replace(dumps.E4B, rows=4, head_dim=256)
    dump = dumps.make_dump(sizes, "right", role="target", swa_state=SOUND)
    versions = {"versions": {"flashinfer": "0.6.12"}, "gpu": {"capability": [10, 0]}}
    dump = replace(dump, fault=Evidence("", "a snapshot", "snap"), provenance=versions)
    moe = sanitizer(MOE, 0x7E0000001000)
    unknown = sanitizer("some_kernel", 0x7E0000001000)
    mine = sanitizer(FMHA, None)
    # GIVEN that the call is exposed, it is named where the kernel is this launch's, and only there
    assert named(seen_in(dump, mine)) == ["known-kernel-defect"]
    assert named(seen_in(dump, moe)) == []
    assert named(seen_in(dump, unknown)) == []
    possible = [cause.key for cause in explain(seen_in(dump, unknown)).possible]
    assert possible == ["known-kernel-defect"]


@pytest.mark.parametrize(("pool", "ids"), [("FULL", "full"), ("SWA", "swa")])
def test_a_canary_slot_is_matched_in_the_pool_that_its_tag_names(pool, ids):
    from triage.dump.expected_ids import page_ids

    dump = sound()
    pages = getattr(page_ids(dump), ids)
    slot = int(pages[5, 127]) * dump.launch.page_size + 9
    (seen,) = related(seen_in(dump, texts.CANARY.format(pool=pool, slot=slot)))
    assert 5 in seen.rows and seen.relation is Relation.CONTENT


def test_what_the_class_needs_and_was_not_recorded_is_possible_never_named():
    # GIVEN full-pool ids in an SWA layer, and a dump that says nothing of the backend's state
    dump = dumps.make_dump(dumps.E4B)
    dump = replace(
        dump,
        backend=replace(dump.backend, swa_state={}),
        pools=replace(dump.pools, table_space=""),
    )
    explanation = explain(dump)
    # THEN neither of the two classes that differ in it is named
    assert not explanation.named and explanation.status == "unknown"
    missing = {cause.key: cause.missing for cause in explanation.possible}
    assert missing["stale-swa-state"] == ("the backend's SWA state",)
    assert missing["full-ids-in-swa-layer"] == ("the backend's SWA state",)


def test_high_is_never_said_where_a_fact_is_not_recorded():
    cause = Cause("x", "x", Confidence.HIGH, ("e",), ("r",), "f", not_recorded=("a fact",))
    ((weighed,), ()) = weigh((cause,), ())
    assert weighed.confidence is Confidence.MEDIUM
    ((weighed,), ()) = weigh((replace(cause, missing=("another",)),), ())
    assert weighed.confidence is Confidence.LOW


def test_a_row_that_is_wrong_in_a_part_is_not_called_anothers():
    from tests.explain.test_explain import with_table

    # GIVEN a sound launch of which a row names another's pages at every visible entry, or at four
    dump = sound()
    case = LaunchCase.of(dump)
    (columns,) = case.seen[2].nonzero()
    (others,) = case.seen[1].nonzero()
    whole, part = case.table.copy(), case.table.copy()
    whole[2, columns] = case.table[1, others[: len(columns)]]
    part[2, columns[-4:]] = case.table[1, others[:4]]
    # THEN the two are told apart
    assert named(with_table(dump, whole)) == ["other-requests-row"]
    assert named(with_table(dump, part)) == ["foreign-part-of-row"]


def test_two_rows_that_name_each_others_page_were_exchanged():
    from tests.explain.test_explain import with_table

    dump = sound()
    case = LaunchCase.of(dump)
    newest = [int(case.seen[row].nonzero()[0][-1]) for row in (1, 2)]
    one, two = case.table[1, newest[0]], case.table[2, newest[1]]
    # GIVEN the newest pages of two rows in each other's place
    both, half = case.table.copy(), case.table.copy()
    both[1, newest[0]], both[2, newest[1]] = two, one
    assert named(with_table(dump, both)) == ["exchanged-pages"]
    # AND one entry that names another's page, which a page given away would leave as well
    half[1, newest[0]] = two
    assert "exchanged-pages" not in named(with_table(dump, half))


@pytest.mark.parametrize(
    "entry",
    [
        3,
        {},
        {"form": "compute-sanitizer", "failure": "no such failure"},
        {"form": "compute-sanitizer", "failure": "illegal memory access", "address": "x"},
        {
            "form": "compute-sanitizer",
            "failure": "illegal memory access",
            "nearest": {"address": "x", "bytes": []},
        },
        {"form": "compute-sanitizer", "failure": "illegal memory access", "address": 2**63},
        {"form": "compute-sanitizer", "failure": "illegal memory access", "address": -(2**62)},
        {
            "form": "kv_canary",
            "failure": "a token's slot holds what another wrote",
            "values": {"slot": -(2**60), "pool": 7},
        },
        {"form": "compute-sanitizer", "failure": "illegal memory access", "kernel": "<" * 100_000},
    ],
)
def test_observations_out_of_a_strangers_file_are_passed_over_or_lie_nowhere(entry):
    dump = wrong_table()
    facts = {"observations": [entry], "cuda_faults": [entry, {"address": True}]}
    strange = replace(dump, fault=replace(dump.fault, facts=facts))
    assert all(not seen.entries for seen in explain(strange).related)


# -- several inputs ------------------------------------------------------------------------------


def log_input(text: str, name: str = "a.log") -> Input:
    log = read_log(io.BytesIO(text.encode()), name)
    return Input(name, ", ".join(log.forms), observations=log.observations)


def test_the_rank_that_faulted_first_is_told_from_those_that_followed():
    report = together([log_input(texts.ASYNC + texts.PEERS)])
    plain = report.as_dict()
    assert plain["first"] == "TP1"
    followed = {each["rank"]: each["collateral"] for each in plain["ranks"]}
    assert followed == {"TP1": False, "rank 3": True, "": True, "TP2": True}


def test_of_two_logs_the_earlier_fault_is_first_whatever_their_order():
    late = texts.AT_THE_CALL.split("\n", 1)[1].replace("10:00:02 TP0", "10:09:02 TP7")
    report = together([log_input(late, "b.log"), log_input(texts.ASYNC, "a.log")])
    assert report.as_dict()["first"] == "TP1"


def test_a_log_and_a_dump_are_set_side_by_side_without_an_import():
    dump = wrong_table()
    text = sanitizer(FMHA, page_address(dump, WRONG_PAGE))
    report = together([log_input(text), Input("d.msgpack", "a dump", dump)])
    assert report.as_dict()["named"] == ["stale-swa-state"]
    assert not any(command.startswith("triage explain") for command in report.next)


def test_what_is_missing_comes_with_the_command_that_gets_it():
    report = together([log_input(texts.GDB_LIVE)])
    assert "the faulting address" in report.missing and "read or write" in report.missing
    assert any("compute-sanitizer" in command for command in report.next)
    leak = together([log_input(texts.LEAK)])
    assert any("CHECKS=I4,I5,I6,I7" in command for command in leak.next)


def test_pages_of_a_leak_are_counted_where_the_log_tells_the_page_size():
    given = replace(log_input(texts.LEAK), page_size=64)
    report = together([given])
    headline = report.readings[0].headline
    assert "256 tokens of the full pool are lost" in headline and "4 pages of 64" in headline
