"""Two S3 servers of this machine, over HTTP, which s3fs and boto talk to as to any other.

`rclone serve s3` keeps objects as files of a folder and asks for a signature; moto's server keeps
them in memory, and can be told to refuse, to fail, or to keep versions.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from triage.batch import objects
from triage.lab.server.ports import free_port, in_use

RCLONE = str(Path(sys.executable).with_name("rclone"))
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Yields the environment variables with which boto and s3fs find moto's."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    _forget()
    try:
        host, port = running.get_host_and_port()
        there = f"http://{host}:{port}"
        empty = urllib.request.Request(f"{there}/moto-api/reset", b"")  # one memory a process
        urllib.request.urlopen(empty).close()
        yield {**CREDENTIALS, "AWS_ENDPOINT_URL": there}
    finally:
        running.stop()


@contextmanager
def on_disk() -> Iterator[dict[str, str]]:
    """The same of rclone's."""
    key = ",".join((CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"]))
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        running = subprocess.Popen(
            [RCLONE, "serve", "s3", folder, "--addr", f"127.0.0.1:{port}", "--auth-key", key,
             "--vfs-cache-mode", "writes", "--config", "/dev/null"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            end = time.monotonic() + 20
            while not in_use(port):
                assert running.poll() is None and time.monotonic() < end, "rclone does not listen"
                time.sleep(0.05)
            _forget()
            yield {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        finally:
            running.terminate()
            running.wait(10)


def _forget() -> None:
    """Clients of another server, from another test."""
    s3fs.S3FileSystem.clear_instance_cache()
    objects._filesystem.cache_clear()


SERVERS: tuple[Callable[[], AbstractContextManager[dict[str, str]]], ...] = (server, on_disk)
BOTH = pytest.fixture(scope="module", params=SERVERS, ids=("moto", "rclone"))
