"""What each kernel says about a dump, before and after each fix, and the exit code of it all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import dumps_fixture as dumps
from triage.dump.expected_ids import UNKNOWN, expected_ids, visible
from triage.dump.sections import Ragged
from triage.errors import ReplayError
from triage.evidence import Evidence
from triage.replay.deduction import deduce
from triage.replay.eager import run_eager
from triage.replay.fixes import apply_fix
from triage.replay.triton_paged import run_triton
from triage.replay.values import compare_with_right_table, output_error, q_lens_of
from triage.replay.verdict import Basis, Outcome, Verdict, exit_code

KERNELS = {"emulator": deduce, "eager": run_eager}


@pytest.fixture(scope="module")
def e4b():
    return dumps.make_dump(dumps.E4B)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_recorded_fault_recurs(e4b, kernel):
    verdict = KERNELS[kernel](e4b, "")

    assert verdict.outcome is Outcome.REPRODUCED
    assert verdict.exit_code == 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_state_swap_leaves_nothing_wrong(e4b, kernel):
    verdict = KERNELS[kernel](e4b, "state-swap")

    assert verdict.outcome is Outcome.NOT_REPRODUCED
    assert verdict.exit_code == 0


def test_state_swap_equals_the_table_that_i2_demands_exactly(e4b):
    fixed = apply_fix("state-swap", e4b).tables.page_table.padded()
    demanded = expected_ids(e4b)

    assert np.array_equal(fixed[demanded != UNKNOWN], demanded[demanded != UNKNOWN])
    assert (demanded != UNKNOWN)[visible(e4b, demanded.shape[1])].all()
    assert run_eager(e4b, "state-swap").figures["error"] == {
        "rows": 64, "rows_wrong": 0, "relative_l2": 0.0, "max_abs": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS)
def test_clamp_trades_the_fault_for_a_different_one(e4b, kernel):
    verdict = KERNELS[kernel](e4b, "clamp")

    assert verdict.outcome is Outcome.DIFFERENT_FAULT
    assert verdict.exit_code == 4


def test_clamp_returns_wrong_values_for_pages_in_the_window(e4b):
    figures = run_eager(e4b, "clamp").figures

    assert figures["outside"] == 0
    assert figures["redirected"]["entries"] == run_eager(e4b).figures["outside"] > 0
    assert figures["redirected"]["visible"] == int(visible(e4b, 144).sum())
    assert figures["error"]["relative_l2"] > 0.5


def test_a_wrong_page_in_range_is_found_by_identity_alone():
    dump = dumps.make_dump(dumps.SMALL, "right")
    values = dump.tables.page_table.values.copy()
    table = Ragged(values, dump.tables.page_table.offsets)
    mask = visible(dump, table.padded().shape[1])
    row, column = np.argwhere(mask)[0]
    values[table.offsets[row] + column] = values[table.offsets[row] + column] % 79 + 1
    dump = replace(
        dump, tables=replace(dump.tables, page_table=table), fault=Evidence("I2", "", "")
    )

    for kernel in KERNELS.values():
        assert kernel(dump, "").outcome is Outcome.REPRODUCED
        assert kernel(replace(dump, fault=Evidence("I1", "", "")), "").exit_code == 4


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_sound_launch_is_not_reproduced_if_a_fault_is_recorded_and_clean_if_none_is(kernel):
    dump = dumps.make_dump(dumps.SMALL, "right")

    assert KERNELS[kernel](dump, "").exit_code == 5
    assert KERNELS[kernel](replace(dump, fault=Evidence("", "", "snapshot")), "").exit_code == 0


def test_garbage_past_the_length_is_no_fault():
    dump = dumps.make_dump(dumps.SMALL, "right")
    padded = dump.tables.page_table.padded()
    live = -(-dump.tables.cache_seqlens // dump.launch.page_size)
    padded[np.arange(padded.shape[1]) >= live[:, None]] = 100
    table = Ragged.of(padded, np.diff(dump.tables.page_table.offsets))
    dump = replace(
        dump,
        tables=replace(dump.tables, page_table=table),
        fault=Evidence("", "", "snapshot"),
    )

    assert deduce(dump).exit_code == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_dump_without_a_launch_cannot_run(kernel):
    verdict = KERNELS[kernel](replace(dumps.make_dump(dumps.SMALL), launch=None, tables=None), "")

    assert verdict.outcome is Outcome.CANNOT_RUN
    assert verdict.exit_code == 3


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"num_q_heads": 4096, "num_kv_heads": 4096, "head_dim": 4096}, "GiB of host memory"),
        ({"page_size": 65536, "num_kv_heads": 8, "head_dim": 4096}, "GiB of host memory"),
        ({"num_q_heads": 4096, "head_dim": 4096, "q_len_per_req": 40}, "multiply-adds"),
    ],
)
@pytest.mark.parametrize("run", [run_eager, run_triton], ids=["eager", "triton"])
def test_absurd_sizes_are_refused_before_anything_is_allocated(sizes, reason, run):
    dump = dumps.make_dump(replace(dumps.SMALL, shortest=40))
    verdict = run(replace(dump, launch=replace(dump.launch, **sizes)))

    assert verdict.outcome is Outcome.CANNOT_RUN
    assert reason in verdict.reasons[0] or "too many for Triton's" in verdict.reasons[0]


def test_eager_without_a_request_table_still_sees_ids_outside_the_cache():
    dump = dumps.make_dump(dumps.SMALL)
    blind = replace(dump, tables=replace(dump.tables, req_to_token=None))
    sound = dumps.make_dump(dumps.SMALL, "right")
    sound = replace(sound, tables=replace(sound.tables, req_to_token=None))

    assert run_eager(blind).outcome is Outcome.REPRODUCED
    assert run_eager(sound).outcome is Outcome.CANNOT_RUN


def test_eager_says_what_it_synthesised_and_uses_what_is_stored(e4b):
    assert run_eager(e4b).figures["synthesised"] == ["query", "KV cache"]
    dump = dumps.make_dump(dumps.SMALL)
    pages = np.arange(dump.launch.num_pages)
    shape = (len(pages), 1, dump.launch.page_size, dump.launch.head_dim)
    kv = {
        "pages": pages,
        "k": np.ones(shape, np.float16),
        "v": np.ones(shape, np.float16),
        "query": np.ones((4, 8, 16), np.float32),
    }
    right = replace(dumps.make_dump(dumps.SMALL, "right"), kv=kv)

    verdict = run_eager(right)

    assert verdict.figures["synthesised"] == []
    assert verdict.figures["error"]["rows_wrong"] == 0
    # All keys and values alike: a page is only told from another by being absent.
    assert run_eager(replace(dump, kv=kv)).figures["error"]["rows_wrong"] > 0


def test_an_int64_table_is_read_as_its_low_and_high_words():
    dump = dumps.make_dump(dumps.SMALL, "right")
    tensors = dict(dump.launch.tensors)
    tensors["block_tables"] = replace(tensors["block_tables"], dtype="int64")
    dump = replace(dump, launch=replace(dump.launch, tensors=tensors))

    verdict = deduce(dump)

    assert verdict.figures["identity"]["wrong"] > 0
    assert any("int64" in reason for reason in verdict.reasons)


def test_a_column_slice_is_read_with_its_own_width_as_pitch():
    dump = dumps.make_dump(dumps.SMALL, "right")
    tensors = dict(dump.launch.tensors)
    facts = tensors["block_tables"]
    tensors["block_tables"] = replace(facts, stride=(facts.shape[1] + 5, 1))
    dump = replace(dump, launch=replace(dump.launch, tensors=tensors))

    verdict = deduce(dump)

    assert verdict.figures["identity"]["wrong"] > 0
    assert any("stride" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("fix", ["state-swap", "clamp"])
def test_a_fix_refuses_a_dump_that_lacks_what_it_needs(fix):
    dump = replace(dumps.make_dump(dumps.SMALL), launch=None, tables=None)
    with pytest.raises(ReplayError, match=fix):
        apply_fix(fix, dump)


def test_an_unknown_fix_is_answered_with_the_known_ones():
    with pytest.raises(ReplayError, match="known: state-swap, clamp"):
        apply_fix("magic", dumps.make_dump(dumps.SMALL))


def verdict(outcome: Outcome, basis: Basis, expected: bool = True) -> Verdict:
    return Verdict("k", outcome, basis, (), expected)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 3),
        ([verdict(Outcome.CANNOT_RUN, Basis.EXECUTED)], 3),
        (
            [
                verdict(Outcome.REPRODUCED, Basis.DEDUCED),
                verdict(Outcome.CANNOT_RUN, Basis.EXECUTED),
            ],
            1,
        ),
        (
            [
                verdict(Outcome.REPRODUCED, Basis.DEDUCED),
                verdict(Outcome.NOT_REPRODUCED, Basis.EXECUTED),
            ],
            5,
        ),
        (
            [
                verdict(Outcome.DIFFERENT_FAULT, Basis.EXECUTED),
                verdict(Outcome.NOT_REPRODUCED, Basis.EXECUTED),
            ],
            4,
        ),
        ([verdict(Outcome.NOT_REPRODUCED, Basis.EXECUTED, expected=False)], 0),
    ],
)
def test_the_worst_executed_verdict_decides_else_the_worst_deduced(verdicts, code):
    assert exit_code(verdicts) == code


def test_a_kernel_that_can_fault_is_launched_even_if_nothing_says_what_is_right():
    dump = dumps.make_dump(dumps.SMALL)
    blind = replace(dump, tables=replace(dump.tables, req_to_token=None))
    launched = []

    def run_table(which, inputs, ids):
        launched.append(ids)
        return torch.zeros(4, 8, 16)

    found = compare_with_right_table("odd", blind, "", run_table, can_fault=True)

    assert len(launched) == 1
    assert found.outcome is Outcome.CANNOT_RUN
    assert "the launch returned without a fault" in found.reasons


def test_a_run_that_is_not_repeated_to_the_bit_does_not_make_a_right_table_wrong(e4b):
    # GIVEN a kernel whose last bits differ from run to run
    fixed = apply_fix("state-swap", e4b)
    runs = iter(range(1, 9))

    def run_table(which, inputs, ids):
        return torch.zeros(64, 8, 16) + 1e-6 * next(runs)

    # WHEN it runs over the right table THEN nothing is wrong
    assert compare_with_right_table("noisy", fixed, "", run_table).figures["error"] == {
        "rows": 64, "rows_wrong": 0, "relative_l2": 0.0, "max_abs": 0.0,
    }  # fmt: skip
    # WHEN one id of a row is not the right one THEN that row is judged by its values
    wrong = fixed.tables.page_table.padded().copy()
    row, column = 5, int(np.flatnonzero(visible(fixed, wrong.shape[1])[5])[-1])
    wrong[row, column] -= 1
    broken = replace(fixed, tables=replace(fixed.tables, page_table=ragged(wrong)))
    assert (
        compare_with_right_table("noisy", broken, "", run_table).figures["error"]["rows_wrong"] == 1
    )


def ragged(table: np.ndarray) -> Ragged:
    rows, width = table.shape
    return Ragged(table.reshape(-1), np.arange(rows + 1) * width)


@pytest.mark.parametrize("narrower", ["right", "recorded"])
def test_tables_of_two_widths_are_compared_in_the_wider(narrower):
    # GIVEN ids of one column more on one side than on the other
    dump = dumps.make_dump()
    right = expected_ids(dump)
    ids = right[:, :-1] if narrower == "recorded" else right
    right = right[:, :-1] if narrower == "right" else right
    tokens = int(q_lens_of(dump).sum())
    # THEN rows that see that column are unknown or differ, and the rest is compared
    error = output_error(dump, None, ids, right, lambda *_: torch.zeros(tokens, 1))
    assert error["rows"] <= len(ids) and error["rows_wrong"] == 0


def with_padding(dump, count=3, *, request=0, length=1):
    """The launch as a graph of more rows runs it; the hook saw the padded batch size only."""
    tables, rows = dump.tables, len(dump.tables.cache_seqlens) + count

    def padded(ragged):
        widths = [*np.diff(ragged.offsets), *[1] * count]
        return Ragged.of(
            np.vstack([ragged.padded(), np.zeros((count, ragged.padded().shape[1]), np.int32)]),
            np.asarray(widths),
        )

    return replace(
        dump,
        launch=replace(dump.launch, tensors={}),
        tables=replace(
            tables,
            page_table=padded(tables.page_table),
            req_to_token=padded(tables.req_to_token),
            mapping=np.vstack([[[0, 0]], tables.mapping[tables.mapping[:, 0] != 0]]),
            cache_seqlens=np.append(tables.cache_seqlens, [length] * count).astype(np.int32),
            req_pool_indices=np.append(tables.req_pool_indices, [request] * count),
        ),
        backend=replace(dump.backend, batch_size=rows, padded_batch_size=rows),
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_padding_that_reads_the_dummy_page_is_no_fault(kernel):
    # GIVEN a launch with stale ids, in a graph of more rows; its batch size is the padded one
    dump = with_padding(dumps.make_dump(dumps.SMALL))
    # WHEN it is replayed as it was, and with the fix
    before, after = KERNELS[kernel](dump, ""), KERNELS[kernel](dump, "state-swap")
    # THEN only the rows of requests count: the fault recurs, and the fix leaves nothing wrong
    assert before.outcome is Outcome.REPRODUCED
    assert after.outcome is Outcome.NOT_REPRODUCED
    assert after.exit_code == 0
    assert not any("dummy" in reason for reason in before.reasons + after.reasons)


@pytest.mark.parametrize(
    ("what", "padding"), [("a request", {"request": 2}), ("a long row", {"length": 30})]
)
def test_the_dummy_page_is_a_fault_in_the_row_of_a_request(what, padding):
    dump = replace(dumps.make_dump(dumps.SMALL, "right"), fault=Evidence("I1", "", ""))
    dump = with_padding(dump, **padding)

    verdict = deduce(dump)

    assert verdict.figures["identity"]["dummy"] > 0, what
    assert verdict.outcome is Outcome.REPRODUCED
