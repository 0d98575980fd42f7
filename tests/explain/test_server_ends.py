"""How a server ended, by its log alone: stopped, aborted by the GPU, or trapped."""

from __future__ import annotations

import io

import pytest

from tests.importers import texts
from triage.dump.observation import Failure
from triage.explain.together import Input, Report, together
from triage.importers.anything import read_anything
from triage.importers.recognise import read_log
from triage.report.explain import print_report


def report_of(text: str) -> Report:
    log = read_log(io.BytesIO(text.encode()), "server.log")
    return together([Input("server.log", "a log", observations=log.observations)])


def test_a_server_that_was_stopped_has_no_fault(capsys):
    # GIVEN the log of a server that was sent SIGTERM
    report = report_of(texts.STOPPED)
    # WHEN it is explained
    print_report(report)
    # THEN neither exit code -15 nor SGLang's own SIGQUIT is called a fault, nor is more asked for
    assert {each.failure for each in report.observations} == {Failure.STOPPED}
    assert report.stopped and not report.missing and not report.next
    printed = capsys.readouterr().out
    assert "no fault is told: the server was stopped" in printed
    assert "unknown" not in printed and "nothing wrong" not in printed


def test_a_stop_after_a_fault_does_not_hide_the_fault():
    report = report_of(
        texts.ABORTED.format(words="an illegal memory access was encountered", name="e")
        + texts.STOPPED
    )

    assert not report.stopped
    assert Failure.ILLEGAL_ADDRESS in {each.failure for each in report.observations}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("an illegal memory access was encountered", "cudaErrorIllegalAddress"),
        ("operation not supported on global/shared address space", "cudaErrorInvalidAddressSpace"),
    ],
)
def test_both_forms_of_an_address_fault_are_one(words, name):
    # GIVEN what torch prints when a destructor hears of the fault, and Python of the abort
    report = report_of(texts.ABORTED.format(words=words, name=name))
    # THEN it is an address fault, the abort is its echo, and what is missing has a command
    first, *others = report.observations
    assert first.failure is Failure.ILLEGAL_ADDRESS
    assert not {each.failure for each in others} & {Failure.OTHER_CUDA, Failure.STOPPED}
    assert "the faulting address" in report.missing
    assert "a dump of this tool: the page table and lengths of the launch" in report.missing
    assert "MODE=contain" in report.next[0]
    echo = next(r for r in report.readings if "died in its host code" in r.headline)
    assert "echo" in echo.says[0]


def test_a_plugin_that_was_not_loaded_is_no_cuda_error():
    (reading,) = report_of(texts.PLUGIN).readings

    assert reading.headline == "one process went on without the plugin a_plugin"
    assert not reading.next


def test_a_log_that_names_a_dump_leads_to_it():
    assert report_of(texts.OURS).next == ("triage explain /var/dumps/WrongIndexSpace-swa.msgpack",)


def test_an_empty_file_beside_a_log_is_no_error(tmp_path):
    (tmp_path / "control").touch()
    (tmp_path / "server.log").write_text(texts.STOPPED)
    (tmp_path / "answers.jsonl").write_text('{"status": "ok", "error": ""}\n')

    inputs = read_anything([str(tmp_path)])

    assert not any(each.unread or each.shown for each in inputs)
