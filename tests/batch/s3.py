"""An S3 server of this machine, over HTTP: moto's, which s3fs talks to as to any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import s3fs
from moto.server import ThreadedMotoServer

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Yields the environment variables with which boto and s3fs find it."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    s3fs.S3FileSystem.clear_instance_cache()  # a client of another server, from another test
    try:
        host, port = running.get_host_and_port()
        yield {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    finally:
        running.stop()
