"""A batch over an object store: servers of the S3 protocol on this machine.

What else a bucket holds is in `test_bad_input.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.batch import s3
from tests.batch.folder import dump, fill
from tests.batch.test_batch import rows
from triage.batch.run import run
from triage.dump.file import encode
from triage.engines import Inline
from triage.errors import DumpError


@s3.BOTH
def store(request):
    with request.param() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


@pytest.fixture(scope="module")
def client(store):
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket="dumps")
    for name, table in (
        ("a/stale", "full ids"),
        ("b/stale2", "full ids"),
        ("b/slots", "page starts"),
    ):
        body = encode(dump(table, time=f"2026-11-2{len(name)}T10:00:00+0000"))
        client.put_object(Bucket="dumps", Key=f"week/{name}.msgpack", Body=body)
    return client


def triage(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "triage", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_a_bucket_is_read_by_processes_and_once(client, tmp_path):
    out = tmp_path / "r.parquet"
    ran = triage("batch", "s3://dumps/week", "--workers", 2, "--out", out)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 objects read" in ran.stdout and "2 clusters" in ran.stdout
    held = rows(out)
    assert held["stale.msgpack"]["url"] == "s3://dumps/week/a/stale.msgpack"
    assert held["stale.msgpack"]["stamp"] and held["stale.msgpack"]["modified"]

    before = out.read_bytes()
    ran = triage("batch", "s3://dumps/week", "--workers", 2, "--out", out)
    assert "0 objects read" in ran.stdout and out.read_bytes() == before


def test_an_object_that_is_replaced_is_read_again_and_a_cut_one_is_a_row(client, tmp_path):
    body = encode(dump())
    client.put_object(Bucket="dumps", Key="twice/one.msgpack", Body=body)
    client.put_object(Bucket="dumps", Key="twice/half.msgpack", Body=body[: len(body) // 2])
    out = tmp_path / "r.parquet"
    assert run(["s3://dumps/twice"], out, Inline).overview.unread == 1

    client.put_object(Bucket="dumps", Key="twice/half.msgpack", Body=body)
    again = run(["s3://dumps/twice"], out, Inline)

    assert (again.made, again.known, again.overview.unread) == (1, 1, 0)
    assert again.overview.copies == 1


@pytest.mark.parametrize("bucket", ["dumps/empty", "nobodys"])
def test_an_empty_or_unknown_bucket_is_refused(client, tmp_path, bucket):
    with pytest.raises(DumpError, match="there"):
        run([f"s3://{bucket}"], tmp_path / "r.parquet", Inline)


def test_no_credentials_is_one_sentence_without_a_key(client, tmp_path):
    gone = {name: "" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    ran = triage("batch", "s3://dumps/week", "--out", tmp_path / "r.parquet", **gone)
    assert ran.returncode == 2
    assert "credentials" in ran.stderr and ran.stderr.count("\n") == 1
    assert "testing" not in ran.stderr


def test_a_store_that_does_not_answer_is_one_sentence(tmp_path, store):
    ran = triage(
        *("batch", "s3://dumps/week", "--out", tmp_path / "r.parquet"),
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
        AWS_MAX_ATTEMPTS="1",
    )
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1 and "127.0.0.1:9" in ran.stderr


def test_a_folder_and_a_bucket_go_into_one_file(client, tmp_path):
    fill(tmp_path / "here", stale=dump())
    found = run([str(tmp_path / "here"), "s3://dumps/week"], tmp_path / "r.parquet", Inline)
    assert found.made == 4
    assert sum(each.count for each in found.overview.clusters) == 4


def test_a_password_in_a_url_is_told_nowhere(tmp_path):
    with pytest.raises(DumpError) as caught:
        run(["http://user:hush@127.0.0.1:9/x.msgpack"], tmp_path / "r.parquet", Inline)
    assert "hush" not in str(caught.value)
    assert not list(Path(tmp_path).iterdir())
