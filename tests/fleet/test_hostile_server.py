"""Whatever a server answers is a result or that request's error, in time and in memory."""

from __future__ import annotations

import asyncio
import json
import resource
import time

import pytest
from click.testing import CliRunner

from tests.fleet.hostile import MODELS, STREAMS, serving
from triage.cli import main
from triage.fleet.client import Answer, Server
from triage.fleet.journal import Journal, read
from triage.fleet.workloads import FleetError


def answered(url, chat, seconds=1.0):
    async def ask():
        async with Server(url, "m", seconds) as server:
            if chat:
                return await server.chat(0, "?", 4, 0.0)
            return await server.complete(0, "?", 4, 0.0)

    return asyncio.run(ask())


@pytest.mark.parametrize("chat", [False, True], ids=["completion", "chat"])
@pytest.mark.parametrize("stream", list(STREAMS))
def test_an_answer_that_is_none_is_an_error_in_time_and_in_memory(stream, chat):
    before, begin = _peak(), time.monotonic()
    with serving(stream) as url:
        answer = answered(url, chat)
    assert (answer.error and answer.error.isprintable()) or "title" in answer.error
    assert not answer.error.startswith("connection")
    assert time.monotonic() - begin < 10
    assert _peak() - before < 300 << 10  # KiB; a flood of gigabytes was taken before


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_page_of_html_with_status_200_is_no_answer():
    with serving("a drip", kind="text/html") as url:
        answer = answered(url, chat=False)
    assert answer.error == "no answer: the content type is text/html, not text/event-stream"


@pytest.mark.parametrize("models", list(MODELS))
def test_a_server_that_names_no_model_is_no_server(tmp_path, models):
    with serving("nothing", models) as url:
        command = ["workload", "A", "--base-url", url, "--out", str(tmp_path / "r.jsonl")]
        done = CliRunner().invoke(main, command)
    assert done.exit_code == 3 and "no OpenAI-compatible server answers at" in done.output
    assert not (tmp_path / "r.jsonl").exists()


def test_a_run_against_it_counts_its_errors_and_prints_nothing_raw(tmp_path):
    with serving("an error") as url:
        command = ["workload", "A", "--base-url", url, "--out", str(tmp_path / "r.jsonl")]
        done = CliRunner().invoke(main, [*command, "--prompts", "3"])
    assert done.exit_code == 1 and "3 errors" in done.output and "\x1b" not in done.output
    assert all(answer.error for answer in read(tmp_path / "r.jsonl").answers.values())


HEADER = {"workload": "A", "seed": 0, "prompts": 2, "label": "", "model": "m", "server": "s"}
GOOD = Answer(0, 0.0, 0.1, 0.2, 5, 3, "text").as_dict()


def journal(path, *lines, header=HEADER):
    plain = [{"kind": "run", **header}, *lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in plain))
    return path


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"index": -1}, "index -1 is none of [0, 2)"),
        ({"index": 2}, "index 2 is none of [0, 2)"),
        ({"index": True}, "index True is none of"),
        ({"duration_s": float("nan")}, "duration_s = nan is no number of at least 0"),
        ({"ttft_s": -1}, "ttft_s = -1 is no number"),
        ({"completion_tokens": 1.5}, "completion_tokens = 1.5 is no number of tokens"),
        ({"prompt_tokens": 1 << 40}, "is no number of tokens"),
        ({"text": 7}, "text and error are not both text"),
        ({"more": 7}, "other fields"),
        ({"kind": "answers"}, "its kind is 'answers'"),
    ],
)
def test_a_line_that_does_not_fit_its_header_is_named(tmp_path, changed, said):
    path = journal(tmp_path / "r.jsonl", {"kind": "answer", **GOOD, **changed})
    with pytest.raises(FleetError, match="line 2") as caught:
        read(path)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["model", "server", "seed", "workload", "prompts"])
def test_a_run_is_not_resumed_under_another_header(tmp_path, name):
    path = journal(tmp_path / "r.jsonl", {"kind": "answer", **GOOD})
    before = path.read_bytes()
    other = {**HEADER, name: 3 if name in ("seed", "prompts") else "other"}
    with pytest.raises(FleetError, match=rf"holds another run \({name}"):
        Journal(path, other).open()
    assert path.read_bytes() == before


def test_two_processes_do_not_write_one_file(tmp_path):
    first = Journal(tmp_path / "r.jsonl", HEADER).open()
    with pytest.raises(FleetError, match="is being written by another process"):
        Journal(tmp_path / "r.jsonl", HEADER).open()
    first.close()
    Journal(tmp_path / "r.jsonl", HEADER).open().close()


def test_a_torn_last_line_is_dropped_and_the_run_goes_on_behind_it(tmp_path):
    path = journal(tmp_path / "r.jsonl", {"kind": "answer", **GOOD})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind": "answ')
    resumed = Journal(path, HEADER).open()
    resumed.add(Answer(1, 0.0, None, 0.1, 5, 3, "more"))
    resumed.close()
    assert path.read_bytes().startswith(whole) and len(read(path).answers) == 2


def test_a_planted_link_is_not_written_through(tmp_path):
    (tmp_path / "r.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(FleetError, match="cannot be written"):
        Journal(tmp_path / "r.jsonl", HEADER).open()
    assert not (tmp_path / "victim").exists()
