"""What the threads of the projects hold is told for what it is, and nothing more."""

from __future__ import annotations

import html
import io

import pytest
from click.testing import CliRunner

from tests.importers import pasted, texts, threads
from triage.cli import main
from triage.dump.observation import Access, Failure, Form, Observation
from triage.explain.together import Input, Report, together
from triage.importers.recognise import read_log


def observed(text: str) -> tuple[Observation, ...]:
    return read_log(io.BytesIO(text.encode()), "a log").observations


def report(text: str) -> Report:
    return together([Input("a log", "a text", observations=observed(text))])


def test_a_log_of_vllm_is_not_called_sglangs_and_gets_no_command_of_its_traps():
    output = CliRunner().invoke(main, ["explain", "-"], input=threads.VLLM).output
    assert "vLLM exception" in output and "SGLang exception" not in output
    assert "SGLANG_" not in output and "FLASHINFER_LOGLEVEL=10" in output


def test_workers_of_one_name_are_told_apart_by_their_pid():
    first, second = report(threads.RAY_WORKERS).ranks
    assert (first.rank, second.rank) == (
        "WorkerDict pid 7001",
        "WorkerDict pid 7002",
    )


def test_the_finer_clock_says_which_rank_was_first():
    # GIVEN that the server's own clock has the same second for both
    found = report(threads.RANKS_WITH_FINER_STAMPS)
    # THEN the container runtime's decides, not the order in the file
    assert [each.rank for each in found.ranks] == ["TP1", "TP3"]


def test_a_tensor_map_refused_with_700_is_an_earlier_kernels_fault():
    (seen,) = observed(threads.TENSOR_MAP.format(code=700))
    assert (seen.form, seen.failure, seen.rank) == (Form.TMA, Failure.ILLEGAL_ADDRESS, "DP0 TP2")
    (refused,) = observed(threads.TENSOR_MAP.format(code=1))
    assert refused.failure is Failure.DESCRIPTOR


def test_a_list_of_xids_keeps_address_and_access_of_each():
    read, write = observed(threads.XID_LIST)
    assert (read.access, read.address) == (Access.READ, 0x7E5500A01000)
    assert (write.access, write.address) == (Access.WRITE, 0x7E5500B02000)
    assert "None" not in " ".join(each.headline for each in report(threads.XID_LIST).readings)


def test_a_core_dump_told_in_prose_names_the_kernel_and_not_its_geometry():
    (seen,) = observed(threads.CORE_IN_PROSE)
    assert seen.kernel.startswith("bmm_E2m1") and seen.access is Access.READ
    (reading,) = report(threads.CORE_IN_PROSE).readings
    assert reading.attention is False


@pytest.mark.parametrize("text", [threads.LEAK_OF_STATES, threads.LEAK_OF_STATES_NEWER])
def test_lost_states_of_a_mamba_pool_are_not_request_rows_and_not_tokens(text):
    *full, mamba = observed(text)
    assert (mamba.failure, mamba.values["pool"], mamba.values["tokens"]) == (
        Failure.LEAK,
        "mamba",
        2,
    )
    assert all(each.failure is Failure.BALANCED for each in full)
    assert report(text).readings[-1].headline == "2 states of the mamba pool lost"


def test_sums_whose_terms_name_their_pools_are_added_up_for_each():
    full, swa = observed(threads.LEAK_BY_LAYER)
    assert (full.values["pool"], full.failure, full.values["tokens"]) == ("full", Failure.LEAK, 32)
    assert (swa.values["pool"], swa.failure) == ("swa", Failure.BALANCED)


def test_request_rows_are_counted():
    (reading,) = report(texts.LEAK_ROWS).readings
    assert reading.headline == "2 of 256 rows of req_to_token lost"


def test_an_assert_of_a_compiled_kernel_has_no_name_and_says_where_to_look():
    text = "".join(threads.COMPILED_ASSERT.format(thread=thread) for thread in range(4))
    (seen,) = observed(text)
    assert (seen.kernel, seen.count) == ("", 4)
    assert "TORCH_LOGS" in " ".join(report(text).readings[0].says)


@pytest.mark.parametrize(
    ("text", "failure", "kernel"),
    [
        (threads.SYNCCHECK, Failure.BARRIER, "PrefillWithKVCacheKernel"),
        (texts.SANITIZER_NEW_KIND, Failure.UNKNOWN, "some_new_kernel"),
    ],
)
def test_other_tools_of_the_sanitizer_are_told_with_their_kernel(text, failure, kernel):
    (seen,) = observed(text)
    assert (seen.failure, kernel in seen.kernel) == (failure, True)
    (reading,) = report(text).readings
    assert not reading.next and "the faulting address" not in reading.missing


def test_an_uninitialised_read_is_a_read_and_no_core_dump_is_asked_for():
    text = pasted.OTHERS["initcheck"][0]
    (seen,) = observed(text)
    assert (seen.access, seen.access_bytes) == (Access.READ, 2)
    assert not report(text).next


def test_an_access_that_begins_inside_an_allocation_is_told_by_how_far_it_goes_past():
    (reading,) = report(threads.ACROSS_THE_END).readings
    assert "ends 256 bytes past its end" in " ".join(reading.says)


@pytest.mark.parametrize(
    "words",
    [
        "Decode out of memory. Try to lower your batch size.",
        "Prefill out of memory. Try to lower your batch size.",
        "KV cache is full! Bug in memory estimation.",
    ],
)
def test_a_pool_without_a_page_left_is_not_the_gpus_memory(words):
    text = threads.POOL_FULL.format(words=words)
    (seen,) = observed(text)
    assert seen.failure is Failure.POOL_FULL
    assert "mem-fraction" not in " ".join(report(text).next)


@pytest.mark.parametrize("text", [threads.NO_KERNEL, threads.TOO_MUCH_SHARED_MEMORY])
def test_what_never_ran_is_no_fault_of_a_kernel(text):
    (seen,) = observed(text)
    assert seen.failure is Failure.REFUSED
    found = report(text)
    assert "which kernel faulted" not in found.missing
    assert "nothing was read or written" in " ".join(found.readings[0].says)


def test_a_trap_told_on_one_line_names_its_dump_else_the_page_of_its_invariant():
    assert report(threads.TRAPPED_ON_ONE_LINE).next == ("triage explain /var/dumps/a.msgpack",)
    without = threads.TRAPPED_ON_ONE_LINE.replace("; dump: /var/dumps/a.msgpack", "")
    assert report(without).next == ("triage explain I2",)


def test_the_source_of_a_web_page_is_as_the_page():
    text = "".join(f"> {line}\n" for line in pasted.report(pasted.MARLIN).splitlines())
    (seen,) = observed(html.escape(text))
    assert (seen.kernel, seen.address) == (pasted.MARLIN, pasted.ADDRESS)


def test_a_gather_is_not_said_to_be_of_another_tensor_than_the_request_table():
    (reading,) = report(texts.DEVICE_ASSERT.format(block=0, thread=0)).readings
    assert "nothing to do with the KV cache" not in " ".join(reading.says)
