"""A server whose dumps go to an object store: bound by SGLang's own loader, as in a fleet."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from tests import prepared
from tests.batch import s3
from triage import config
from triage.cli import main
from triage.dump import spool
from triage.files.reading import read_lines

SERVER = """
from triage.lab import bootstrap
bootstrap.prepare()
from triage.lab.flashinfer_stub import StandInFlashInfer
StandInFlashInfer(lambda call: None).install()
from sglang.srt.plugins import load_plugins
load_plugins()
from triage.sglang.install import state
from tests.batch.folder import dump
print(state().traps.reporter.store.save(dump(), "kind")[0].name)
"""


@pytest.mark.slow
def test_a_dump_of_an_armed_process_arrives_after_its_end(tmp_path):
    # GIVEN a process of SGLang's that is armed with a URL, and ends right after its dump
    far = tmp_path / "far"
    asked = {
        config.DEBUG: "1",
        config.DIRECTORY: f"file://{far}",
        config.SPOOL: str(tmp_path / "spool"),
    }
    done = prepared.python("-c", SERVER, env=asked)
    assert done.returncode == 0, done.stderr
    name = done.stdout.splitlines()[-1]
    # THEN the dump arrives, and the process had waited for nothing but its own disk
    until = time.monotonic() + 120
    while not (far / name).exists() and time.monotonic() < until:
        time.sleep(0.2)
    assert (far / name).read_bytes() == (tmp_path / "spool" / name).read_bytes()


@pytest.mark.slow
def test_a_url_that_names_no_bucket_stops_the_process_at_its_start():
    done = prepared.python("-c", SERVER, env={config.DEBUG: "1", config.DIRECTORY: "s3://"})
    assert done.returncode != 0
    assert "names no bucket" in done.stderr


# -- a store of the S3 protocol, and senders that are killed -------------------------------------

URL = "s3://dumps/server"


@pytest.fixture
def store() -> Iterator[tuple[dict[str, str], Any, threading.Event]]:
    """What finds a server of the S3 protocol, a client of it whose bucket keeps every put, and
    what holds back, while it is not set, the answers about an object that is there."""
    import boto3
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication as Server

    answers, answer = threading.Event(), Server.__call__
    answers.set()

    def held_back(self: Any, environ: dict[str, Any], begin: Any) -> Any:
        if environ["REQUEST_METHOD"] == "HEAD":
            answers.wait(60)
        return answer(self, environ, begin)

    with s3.server() as found, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "__call__", held_back)
        for name, value in found.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="dumps")
        client.put_bucket_versioning(Bucket="dumps", VersioningConfiguration={"Status": "Enabled"})
        yield found, client, answers
        answers.set()


@pytest.fixture
def silent() -> Iterator[str]:
    """A store that takes every connection and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def served(end: str = "", **environment: str) -> dict[str, Any]:
    asked = {config.DEBUG: "1", config.MODE: "log", "SGLANG_PLUGINS": "sglang_triage"}
    arguments = ["-m", "tests.sglang.spooled_child", *filter(None, [end])]
    done = prepared.python(*arguments, env={**asked, **environment})
    assert done.returncode == (-9 if end == "kill" else 0), done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def wait_for(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    until = time.monotonic() + seconds
    while not (seen := found()) and time.monotonic() < until:
        time.sleep(0.1)
    assert seen
    return seen


def senders(folder: Path) -> list[psutil.Process]:
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if {"triage.batch.upload", str(folder)} <= set(each.cmdline()):
                found.append(each)
    return found


def kill_senders(folder: Path) -> None:
    ours = senders(folder)
    for each in ours:
        each.kill()
    assert ours
    wait_for(lambda: not senders(folder))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.msgpack")}


def puts(client: Any) -> dict[str, list[str]]:
    """Object -> the ETags of all that was ever put under its name."""
    found: dict[str, list[str]] = {}
    for each in client.list_object_versions(Bucket="dumps").get("Versions", []):
        found.setdefault(each["Key"].rpartition("/")[2], []).append(each["ETag"])
    return found


@pytest.mark.slow
def test_dumps_of_a_server_reach_a_store_whoever_is_killed_on_the_way(store, silent, tmp_path):
    environment, client, answers = store
    folder = tmp_path / "spool"
    far = {**environment, config.DIRECTORY: URL, config.SPOOL: str(folder)}
    plain = served(**{config.DIRECTORY: str(tmp_path / "plain")})

    # GIVEN a store that does not answer, and a server that is killed right after its dumps
    first = served("kill", **{**far, "AWS_ENDPOINT_URL": silent})
    # THEN they lie in the spool, and the server did no more than with a directory: it opened no
    # connection, and spent no time that a store could have had
    assert first["upload"] == URL and first["directory"] == str(folder)
    assert (first["written"], first["not_written"]) == (plain["written"], 0) == (3, 0)
    assert first["connections"] == 0
    assert first["wall_s"] < 3 * plain["wall_s"] + 1
    assert first["load_s"] < 3 * plain["load_s"] + 1
    assert len(names(folder)) == 3 and not list(spool.sent(folder))
    # AND the sender that waits for the store is killed as well
    kill_senders(folder)
    assert not puts(client)

    # GIVEN a next start, whose sender is killed between an upload and its note
    answers.clear()
    second = served(**far)
    wait_for(lambda: puts(client))
    assert second["written"] == 3 and len(puts(client)) == 1
    kill_senders(folder)
    assert not list(spool.sent(folder))
    answers.set()

    # WHEN the server starts once more
    third = served(**far)
    # THEN all nine dumps arrive, none twice: what was sent and not noted is the same object again
    assert third["written"] == 3
    wait_for(lambda: len(puts(client)) == 9 and not senders(folder))
    sent = puts(client)
    assert set(sent) == names(folder) == set(spool.sent(folder))
    assert sorted(map(len, sent.values())) == [1] * 8 + [2]
    assert all(len(set(tags)) == 1 for tags in sent.values())
    noted = [line for line in read_lines(folder / spool.SENT, 1 << 20) if line.strip()]
    assert len(noted) == 9
    for name in sent:
        held = client.get_object(Bucket="dumps", Key=f"server/{name}")["Body"].read()
        assert held == (folder / name).read_bytes()
    # AND a batch finds nine dumps, no copies
    ran = CliRunner().invoke(
        main, ["batch", URL, "--workers", "1", "--json", "--out", str(tmp_path / "r.parquet")]
    )
    assert ran.exit_code == 0, ran.output
    overview = json.loads(ran.stdout)["overview"]
    assert (overview["objects"], overview["copies"], overview["unread"]) == (9, 0, 0)
