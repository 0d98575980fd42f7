"""Loads against a real HTTP server: answers kept one by one, aborts, a server that goes away."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from aiohttp import web

from triage.errors import LabError
from triage.lab.server import load, workload
from triage.lab.server.workload import Asked


class Answering:
    """An aiohttp server in a thread that answers as SGLang's /generate does.

    It takes `seconds` for an answer; an aborted request ends at once, as SGLang's does.
    """

    def __init__(self, seconds: float = 0.0, status: int = 200) -> None:
        self.seconds, self.status = seconds, status
        self.bodies: list[dict] = []
        self.hung_up: list[str] = []
        self.aborted: list[str] = []
        self._events: dict[str, asyncio.Event] = {}
        self.under_way = self.most_under_way = 0

    async def generate(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        event = self._events[body["rid"]] = asyncio.Event()
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        kind = "length"
        try:
            await asyncio.wait_for(event.wait(), self.seconds or 0.001)
            kind = "abort"
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self.hung_up.append(body["rid"])
            raise
        finally:
            self.under_way -= 1
        if self.status != 200:
            return web.json_response({"error": {"message": "out of slots"}}, status=self.status)
        count = body["sampling_params"]["max_new_tokens"]
        first = sum(body["input_ids"])
        meta = {
            "finish_reason": {"type": kind},
            "completion_tokens": count,
            "spec_verify_ct": max(1, count // 2),
            "id": body["rid"],
        }
        ids = [(first + index) % 4000 for index in range(count)]
        return web.json_response({"output_ids": ids, "meta_info": meta})

    async def abort(self, request: web.Request) -> web.Response:
        rid = (await request.json())["rid"]
        self.aborted.append(rid)
        self._events[rid].set()
        return web.Response()

    def __enter__(self) -> Answering:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(10)
        return self

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/generate", self.generate)
        app.router.add_post("/abort_request", self.abort)
        self.runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(10)

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def answering():
    with Answering() as server:
        yield server


def test_a_plain_load_is_the_same_twice_and_another_with_another_seed(answering):
    first, second, other = (
        load.plain(answering.port, 6, 3, input_tokens=40, output_tokens=5, seed=seed)
        for seed in (1, 1, 2)
    )
    assert (first.ok, first.failed, first.unsent) == (6, 0, 0)
    assert first.digest == second.digest != other.digest
    assert first.same_as(second) == (6, 6, 1.0)
    assert first.same_as(other)[0] < 6
    # and the request ids are never those of an earlier load
    assert len({body["rid"] for body in answering.bodies}) == 18


def test_greedy_requests_of_token_ids_are_sent_no_more_at_once_than_asked(answering):
    answering.seconds = 0.05
    load.plain(answering.port, 9, 3, input_tokens=40, output_tokens=5)
    assert answering.most_under_way == 3
    for body in answering.bodies:
        assert 20 <= len(body["input_ids"]) <= 40
        assert body["sampling_params"] == {
            "max_new_tokens": 5,
            "temperature": 0,
            "ignore_eos": True,
        }


def test_the_accept_length_is_tokens_by_verify_steps(answering):
    result = load.plain(answering.port, 4, 2, input_tokens=10, output_tokens=6)
    assert result.accept_length == pytest.approx(2.0)


def test_both_kinds_of_abort_reach_the_server_and_are_not_failures(tmp_path):
    # GIVEN answers that take half a second, and two requests given up before
    with Answering(seconds=0.6) as server:
        asked = [
            Asked(0, (10, 11), 4, ("hang up", 0.1)),
            Asked(1, (10, 12), 4, ("abort_request", 0.1)),
            Asked(2, (10, 13), 4, ("abort_request", 30.0)),
            Asked(3, (10, 14), 4),
        ]
        result = load.play("mixed", asked, server.port, 4)
        deadline = time.monotonic() + 5
        while not server.hung_up and time.monotonic() < deadline:
            time.sleep(0.02)
        # THEN each was aborted in its way, and what came before its abort counts as answered
        assert [one.status for one in result.results] == ["aborted", "aborted", "ok", "ok"]
        assert len(server.hung_up) == 1 and server.hung_up[0].endswith("-000000")
        assert len(server.aborted) == 1 and server.aborted[0].endswith("-000001")


def test_no_request_is_aborted_by_anothers_abort(answering):
    # SGLang aborts every request whose id begins with the one that is given: "x-2" is "x-21" too
    load.plain(answering.port, 24, 8, input_tokens=4, output_tokens=2)
    ids = [body["rid"] for body in answering.bodies][-24:]
    assert not [(a, b) for a in ids for b in ids if a != b and b.startswith(a)]


def test_an_abort_that_nobody_asked_for_is_the_servers_own():
    with Answering(seconds=30.0) as server:

        def abort() -> None:
            while not server.bodies:
                time.sleep(0.01)
            server.loop.call_soon_threadsafe(next(iter(server._events.values())).set)

        threading.Thread(target=abort).start()
        result = load.play("mixed", [Asked(0, (10, 11), 4)], server.port, 1)
    assert (result.ended, result.failed, result.ok) == (1, 0, 0)
    assert "abort" in next(iter(result.errors))


def test_a_refusal_is_a_failure_with_the_servers_words():
    with Answering(status=503) as server:
        result = load.plain(server.port, 3, 1, input_tokens=4, output_tokens=1)
    assert result.failed == 3
    assert "out of slots" in next(iter(result.errors))


def test_nothing_more_is_sent_to_a_server_that_has_gone(tmp_path):
    # GIVEN a server that goes away after the second answer
    with Answering() as server:

        def progress(done: int, total: int) -> None:
            if done == 2:
                server.stop()

        path = tmp_path / "answers.jsonl"
        result = load.plain(
            server.port, 50, 1, input_tokens=4, output_tokens=1,
            results_path=path, progress=progress,
        )  # fmt: skip
    # THEN what was answered is kept, a few refusals are enough, and the rest is unsent
    assert result.ok == 2
    assert 1 <= result.failed <= load.REFUSALS_MEAN_GONE + 1
    assert result.unsent == 50 - len(result.results)
    assert load.read(path).outputs == result.outputs


def test_what_alive_denies_is_not_asked(answering):
    done = []
    result = load.plain(
        answering.port, 10, 1, input_tokens=4, output_tokens=1,
        alive=lambda: len(done) < 3, progress=lambda count, total: done.append(count),
    )  # fmt: skip
    assert (result.ok, result.unsent) == (3, 7)


def test_answers_written_so_far_are_read_back_without_a_line_that_was_cut_off(tmp_path, answering):
    path = tmp_path / "answers.jsonl"
    whole = load.plain(answering.port, 5, 2, input_tokens=9, output_tokens=3, results_path=path)
    assert load.read(path).digest == whole.digest
    # WHEN the last line was cut off by the end of the process
    path.write_text(path.read_text()[:-40])
    # THEN the others are there, and the load says that one is missing
    cut = load.read(path)
    assert (cut.ok, cut.requests, cut.unsent) == (4, 5, 1)


@pytest.mark.parametrize("text", ["", "{}\n", '{"kind": "plain"}\n', "[1]\n", '"a"\n'])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "other.jsonl"
    path.write_text(text)
    with pytest.raises(LabError, match="does not hold the results of a load"):
        load.read(path)


def test_a_mixed_load_has_the_edges_the_prefixes_and_the_aborts_it_promises():
    asked = workload.mixed(2000, 0, 4096, page_size=64, window=512)
    lengths = {len(one.input_ids) for one in asked}
    assert {1, 63, 64, 65, 129, 511, 512, 513, 576} <= lengths
    assert {one.max_new_tokens for one in asked} >= {1, 63, 64, 65, 300}
    aborted = [one for one in asked if one.abort]
    assert len(aborted) / 2000 == pytest.approx(0.12, abs=0.025)
    assert {one.abort[0] for one in aborted} == {"hang up", "abort_request"}
    # half of them begin with one of six prefixes
    heads = [one.input_ids[:200] for one in asked if len(one.input_ids) > 200]
    shared = [head for head in set(heads) if heads.count(head) > 20]
    assert len(shared) == workload.PREFIXES
    # every request fits the context that the lab serves with
    assert max(len(one.input_ids) + one.max_new_tokens for one in asked) < 9216
    assert all(10 <= token < 4090 for one in asked[:200] for token in one.input_ids)


def test_a_workload_follows_from_its_seed_alone():
    assert workload.mixed(20, 3, 4096) == workload.mixed(20, 3, 4096)
    assert workload.mixed(20, 3, 4096) != workload.mixed(20, 4, 4096)
    # a longer load begins with the shorter one
    assert workload.plain(30, 64, 8, 3, 4096)[:20] == workload.plain(20, 64, 8, 3, 4096)


def test_a_result_is_plain_json(answering):
    result = load.plain(answering.port, 2, 1, input_tokens=4, output_tokens=2)
    assert json.loads(json.dumps(result.json()))["tokens"] == 4
