"""Dumps of a server on their way to an object store: nothing waits for it, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import s3fs

from tests.batch import s3
from tests.batch.folder import dump
from triage import config
from triage.batch.upload import PATIENCE_S, Sender, server_alive
from triage.dump import spool
from triage.dump.file import encode
from triage.dump.snap import directory_of
from triage.dump.store import DumpStore
from triage.errors import ConfigError

URL = "s3://dumps/server"


@s3.BOTH
def client(request):
    with request.param() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        import boto3

        client = boto3.client("s3")
        client.create_bucket(Bucket="dumps")
        yield client


def objects(client, prefix: str) -> dict[str, int]:
    listed = client.list_objects_v2(Bucket="dumps", Prefix=f"{prefix}/").get("Contents", [])
    return {each["Key"].rpartition("/")[2]: each["Size"] for each in listed}


def store(folder: Path, **caps) -> DumpStore:
    return DumpStore(folder, spooled=True, **caps)


def sender(folder: Path, url: str, alive=lambda: False) -> tuple[Sender, list[str]]:
    said: list[str] = []
    return Sender(folder, url, alive, said.append), said


# -- the sender --------------------------------------------------------------------------------


def test_what_waits_is_sent_once_and_stays_where_the_error_said(client, tmp_path):
    saved = [store(tmp_path / "spool").save(dump(), f"kind{n}")[0] for n in range(3)]

    first, said = sender(tmp_path / "spool", f"{URL}/once")
    assert first.run() == 0

    held = objects(client, "server/once")
    assert held == {path.name: path.stat().st_size for path in saved}
    assert said == ["sending"]
    again, said = sender(tmp_path / "spool", f"{URL}/once")
    assert again.waiting() == [] and again.run() == 0 and not said


def test_a_store_that_does_not_answer_is_tried_again_until_it_does(client, tmp_path, monkeypatch):
    # GIVEN a store at a port where nobody listens
    store(tmp_path / "spool").save(dump(), "kind")
    there = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    waiting, said = sender(tmp_path / "spool", f"{URL}/late")
    waits: list[float] = []

    # WHEN it answers after three attempts
    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            monkeypatch.setenv("AWS_ENDPOINT_URL", there)
            s3fs.S3FileSystem.clear_instance_cache()
            waiting._filesystem = None

    left = waiting.run(wait)
    # THEN the dump arrives, attempts came later and later, and each change was told once
    assert left == 0 and len(objects(client, "server/late")) == 1
    assert waits == [2.0, 4.0, 8.0]
    assert [each.partition(":")[0] for each in said] == ["not sent yet", "sending"]


def test_a_bucket_that_is_not_there_loses_nothing(client, tmp_path):
    store(tmp_path / "spool").save(dump(), "kind")
    waiting, said = sender(tmp_path / "spool", "s3://nobodys/x")
    slept: list[float] = []
    assert waiting.run(slept.append) == 1  # the server has ended: it waits no longer than this
    assert PATIENCE_S < sum(slept) < 2 * PATIENCE_S
    assert len(said) == 1 and said[0].startswith("not sent yet")
    assert sender(tmp_path / "spool", f"{URL}/found")[0].run() == 0


def test_what_was_sent_and_not_noted_is_sent_again_as_the_same_object(client, tmp_path):
    path, _ = store(tmp_path / "spool").save(dump(), "kind")
    assert sender(tmp_path / "spool", f"{URL}/again")[0].run() == 0
    note = tmp_path / "spool" / spool.SENT
    note.write_bytes(note.read_bytes()[:-30])  # killed while it noted

    assert sender(tmp_path / "spool", f"{URL}/again")[0].run() == 0
    assert objects(client, "server/again") == {path.name: path.stat().st_size}
    assert set(spool.sent(tmp_path / "spool")) == {path.name}


def test_a_disk_that_takes_no_note_ends_no_sender_and_sends_nothing_twice(client, tmp_path):
    saved = [store(tmp_path / "spool").save(dump(), f"kind{n}")[0].name for n in range(2)]
    (tmp_path / "spool" / spool.SENT).mkdir()  # what cannot be opened for writing

    waiting, said = sender(tmp_path / "spool", f"{URL}/unnoted")

    assert waiting.run() == 0 and waiting.waiting() == []
    assert set(objects(client, "server/unnoted")) == set(saved)
    assert said == ["sending; what was sent cannot be noted: Is a directory"]


def test_a_folder_is_a_store_too_and_never_shows_half_a_dump(tmp_path):
    path, _ = store(tmp_path / "spool").save(dump(), "kind")
    assert sender(tmp_path / "spool", f"file://{tmp_path}/far/away")[0].run() == 0
    assert [each.name for each in (tmp_path / "far/away").iterdir()] == [path.name]


# -- the server --------------------------------------------------------------------------------


SERVER = """
import os, signal, sys, time
from pathlib import Path
from tests.batch.folder import dump
from triage.dump import spool
from triage.dump.store import DumpStore

folder, url, deaths = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store = DumpStore(folder, spooled=True)
assert not store.problem()
began = time.monotonic()
if url:
    assert spool.start(folder, url) == ""
print(f"started in {time.monotonic() - began:.3f}")
print(store.save(dump(), "kind")[0].name, flush=True)
if deaths == "tree":  # as SGLang ends: sglang.srt.utils.kill_process_tree
    import psutil
    while [each for each in psutil.Process().children(recursive=True) if each.status() != "zombie"]:
        time.sleep(0.05)  # the sender is below us until it has started
    for each in psutil.Process().children(recursive=True):
        each.kill()
if deaths in ("kill", "tree"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def serve(folder: Path, url: str, end: str = "exit") -> str:
    """Run a server until its end; the name of the dump that it wrote."""
    ran = subprocess.run(
        [sys.executable, "-c", SERVER, str(folder), url, end], capture_output=True, text=True
    )
    assert ran.returncode == (0 if end == "exit" else -signal.SIGKILL), ran.stderr
    return ran.stdout.splitlines()[-1]


def wait_for(found, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not found() and time.monotonic() < until:
        time.sleep(0.1)
    assert found()


@pytest.mark.parametrize("end", ["kill", "tree"])
def test_a_server_that_is_killed_right_after_its_dump_loses_nothing(client, tmp_path, end):
    name = serve(tmp_path / "spool", f"{URL}/{end}", end)

    wait_for(lambda: name in objects(client, f"server/{end}"))
    wait_for(lambda: "nothing is left" in (tmp_path / "spool" / spool.LOG).read_text())


def test_a_server_is_alive_until_it_ends_and_another_of_its_number_is_not_it():
    with subprocess.Popen(["sleep", "60"]) as server:
        alive = server_alive(server.pid)
        assert alive()
        server.kill()
        wait_for(lambda: not alive())  # ended and not yet waited for
    assert not alive() and not server_alive(server.pid)()


def test_what_one_server_left_the_next_start_sends(client, tmp_path):
    # GIVEN a dump of a server whose sender never ran
    left = serve(tmp_path / "spool", "", "kill")
    # WHEN the next one starts
    now = serve(tmp_path / "spool", f"{URL}/next")
    # THEN both arrive
    wait_for(lambda: set(objects(client, "server/next")) == {left, now})


def test_a_full_spool_gives_up_what_was_sent_first_and_says_what_it_lost(client, tmp_path, caplog):
    size = len(encode(dump()))
    held = store(tmp_path / "spool", max_dumps=2, max_bytes=4 * size + 2000)
    held.save(dump(), "sent")
    assert sender(tmp_path / "spool", f"{URL}/full")[0].run() == 0
    for _ in range(3):  # more than max_dumps, and none of them was sent
        held.save(dump(), "waits")
    assert len(sender(tmp_path / "spool", f"{URL}/full")[0].waiting()) == 3
    assert not [each for each in caplog.records if each.name == "triage"]

    for _ in range(3):
        held.save(dump(), "waits")

    assert sum(each.size for each in held.stored()) <= held.max_bytes
    assert "was removed before it could be uploaded" in caplog.text
    assert all(each.signature == "waits" for each in held.stored())


def test_starting_a_sender_is_all_that_a_server_does_and_takes_no_time(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", SERVER, str(tmp_path / "spool"), "s3://nobodys/x", "exit"],
        capture_output=True,
        text=True,
        env={**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
    )
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout.split()[2]) < 0.5  # of a process; a store that hangs would be seconds
    for left in (tmp_path / "spool").glob("*.msgpack"):
        left.unlink()  # else its sender would try for ten minutes


# -- the variables -----------------------------------------------------------------------------


def test_a_url_has_a_spool_that_is_the_same_at_the_next_start(tmp_path):
    asked = config.from_environment({config.DIRECTORY: "s3://bucket/dumps/"})
    assert asked.upload == "s3://bucket/dumps"
    assert asked.directory.parent == config.DEFAULT_DIRECTORY
    assert (
        asked.directory
        == config.from_environment({config.DIRECTORY: "s3://bucket/dumps/"}).directory
    )
    own = {config.DIRECTORY: "s3://bucket/dumps", config.SPOOL: str(tmp_path)}
    assert config.from_environment(own).directory == tmp_path


def test_a_snapshot_is_looked_for_in_the_spool_of_a_server_that_has_a_url(tmp_path):
    asked = {config.DIRECTORY: "s3://bucket/dumps", config.SPOOL: str(tmp_path)}
    with subprocess.Popen(["sleep", "60"], env={**os.environ, **asked}) as server:
        try:
            wait_for(lambda: directory_of(server.pid) == tmp_path)
        finally:
            server.kill()


def test_a_directory_is_one_as_before():
    asked = config.from_environment({config.DIRECTORY: "/data/dumps"})
    assert (asked.directory, asked.upload) == (Path("/data/dumps"), "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {config.DIRECTORY: "s4://bucket"},
            "'s4' is no store that is known; accepted: .* s3://, gs://",
        ),
        ({config.DIRECTORY: "s3://"}, "names no bucket"),
        ({config.DIRECTORY: "s3:///x"}, "names no bucket"),
        ({config.DIRECTORY: "s3://key:secret@bucket/x"}, "holds a user or a password"),
        ({config.DIRECTORY: "file://here"}, "names no bucket"),
        ({config.SPOOL: "/x"}, "has a meaning only where"),
    ],
)
def test_a_bad_variable_is_refused_by_name_and_tells_no_secret(given, said):
    with pytest.raises(ConfigError, match=said) as caught:
        config.from_environment(given)
    assert "secret" not in str(caught.value)


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    assert spool.start(tmp_path, "gs://b/x").endswith("gcsfs is not installed (pip install gcsfs)")
