"""What clusters, editors and chats do to a report changes nothing, or costs what it left out."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner

from tests.explain.test_weighing import WRONG_PAGE, page_address, sound, wrong_table
from tests.importers import pasted
from triage.cli import main
from triage.dump.observation import Access, Failure, Observation
from triage.explain.cause import Confidence
from triage.explain.together import Input, Report, together
from triage.importers.recognise import read_log


def observed(text: str) -> tuple[Observation, ...]:
    return read_log(io.BytesIO(text.encode()), "a log").observations


def beside(text: str, dump) -> Report:
    return together([Input("a log", "a text", observations=observed(text)), Input("d", "", dump)])


@pytest.mark.parametrize("way", pasted.FORMS)
def test_a_report_is_read_through_what_others_put_around_it(way):
    (seen,) = observed(pasted.FORMS[way](pasted.report()))
    assert (seen.kernel, seen.address, seen.access) == (pasted.FMHA, pasted.ADDRESS, Access.READ)
    assert seen.nearest is not None and seen.nearest["bytes"] == 10_485_760


@pytest.mark.parametrize("what", pasted.CUT)
def test_of_a_report_that_was_cut_only_what_is_left_is_told(what):
    text, kernel, address = pasted.CUT[what]
    (seen,) = observed(text)
    assert seen.failure is Failure.ILLEGAL_ADDRESS
    assert seen.kernel == (pasted.FMHA if kernel else "")
    assert seen.address == (pasted.ADDRESS if address else None)


def test_without_kernel_and_access_an_address_on_a_named_page_is_at_most_medium():
    dump = wrong_table()
    text = pasted.report(address=page_address(dump, WRONG_PAGE)).splitlines(keepends=True)
    ((_, whole),) = beside("".join(text), dump).explanations
    ((_, cut),) = beside("".join(text[2:]), dump).explanations
    assert whole.named[0].confidence is Confidence.HIGH
    assert cut.named[0].confidence is Confidence.MEDIUM


@pytest.mark.parametrize("how", pasted.MIXED)
def test_two_processes_that_wrote_into_each_other_give_no_kernel_an_address(how):
    """Which kernel read which address is lost; a guess could name another kernel's fault."""
    for seen in observed(pasted.MIXED[how]):
        assert not (seen.kernel and seen.address)
    output = CliRunner().invoke(main, ["explain", "-"], input=pasted.MIXED[how]).output
    assert "wrote their reports into each other" in output and "--log-file" in output


def test_two_processes_with_a_label_each_are_told_apart():
    one = pasted.report().splitlines()
    two = pasted.report(pasted.MARLIN, pasted.OTHER_ADDRESS).splitlines()
    text = "".join(f"[1,0]<stderr>:{a}\n[1,1]<stderr>:{b}\n" for a, b in zip(one, two, strict=True))
    seen = {each.rank: (each.kernel, each.address) for each in observed(text)}
    assert seen == {
        "rank 0": (pasted.FMHA, pasted.ADDRESS),
        "rank 1": (pasted.MARLIN, pasted.OTHER_ADDRESS),
    }


@pytest.mark.parametrize("what", pasted.OTHERS)
def test_a_fault_of_another_kind_is_told_as_that(what):
    text, form, failure = pasted.OTHERS[what]
    assert [(each.form, each.failure) for each in observed(text)] == [(form, failure)]


@pytest.mark.parametrize("what", pasted.OTHERS)
def test_beside_a_sound_launch_it_is_neither_clean_nor_named(what):
    ((_, found),) = beside(pasted.OTHERS[what][0], sound()).explanations
    assert found.status == "unknown" and not found.named and found.observed


DEVICE_FAULTS = [
    name
    for name, (_, _, failure) in pasted.OTHERS.items()
    if failure
    in (Failure.ILLEGAL_ADDRESS, Failure.LAUNCH_FAILED, Failure.ASSERT, Failure.DEVICE_EXCEPTION)
]


@pytest.mark.parametrize("what", DEVICE_FAULTS)
def test_beside_a_wrong_table_it_is_never_that_tables_with_high_confidence(what):
    ((_, found),) = beside(pasted.OTHERS[what][0], wrong_table()).explanations
    assert all(cause.confidence < Confidence.HIGH for cause in found.named)


@pytest.mark.parametrize("what", DEVICE_FAULTS)
def test_noise_before_the_fault_is_collateral(what):
    seen = observed(pasted.NOISE + pasted.OTHERS[what][0])
    report = together([Input("a log", "", observations=seen)])
    first = next(each for each in report.ranks if not each.collateral)
    assert first.observation.failure is pasted.OTHERS[what][2]


def test_where_the_host_noticed_an_error_is_not_what_faulted():
    ((_, found),) = beside(
        pasted.OTHERS["DeepGEMM, as the host heard"][0], wrong_table()
    ).explanations
    assert "which need not be what faulted" in " ".join(found.related[0].sentences)
    assert found.named and not found.beside


def test_a_hang_is_nobodys_fault_yet():
    text = pasted.OTHERS["the scheduler's watchdog"][0]
    report = together([Input("a log", "", observations=observed(text))])
    assert report.ranks == ()


@pytest.mark.parametrize("what", pasted.UNKNOWN)
def test_what_is_not_known_is_called_unknown_and_shown(what):
    text = pasted.UNKNOWN[what]
    assert observed(text) == ()
    output = CliRunner().invoke(main, ["explain", "-"], input=text).output
    assert "unknown" in output and text.split("] ")[-1][:24] in output


def test_a_flash_attention_error_is_not_answered_with_the_family_at_trtllm_mha():
    place = "/x/flash-attention/hopper/flash_fwd_launch_template.h:166"
    text = f"CUDA error ({place}): an illegal memory access was encountered\n"
    (reading,) = together([Input("a log", "", observations=observed(text))]).readings
    assert reading.families == ("allocator", "lifecycle")
