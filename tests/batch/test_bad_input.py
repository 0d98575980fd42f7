"""What a bucket of a fleet holds beside sound dumps, through the commands: handled, and counted.

The store is a server of the S3 protocol on this machine (`s3.py`).
"""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.batch import s3
from tests.batch.folder import as_version, dump, fill
from tests.ranks.test_merge import rank, write
from triage.cli import main
from triage.dump.file import encode


@pytest.fixture(scope="module")
def bucket():
    """Puts objects: `bucket(key, content)`."""
    with s3.server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        import boto3

        client = boto3.client("s3")
        client.create_bucket(Bucket="fleet")

        def put(key: str, content: bytes) -> None:
            client.put_object(Bucket="fleet", Key=key, Body=content)

        put.client = client
        yield put


def batch(tmp_path, *sources: object) -> tuple[Result, dict[str, Any]]:
    """The command's end, and what it counted."""
    asked = ["batch", *map(str, sources), "--workers", "1", "--no-exemplars", "--json"]
    ran = CliRunner().invoke(main, [*asked, "--out", str(tmp_path / "r.parquet")])
    return ran, json.loads(ran.stdout) if ran.stdout.startswith("{") else {}


def asked_after(requests: float) -> None:
    """Have the store look at credentials from so many requests on."""
    there = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    said = urllib.request.Request(there, str(requests).encode(), {"Content-Type": "text/plain"})
    urllib.request.urlopen(said).close()


def one_sentence(ran: Result) -> str:
    assert ran.exit_code == 2 and ran.output.count("\n") == 1, ran.output
    return ran.output


def test_an_empty_bucket_is_refused_and_beside_another_source_leaves_it_alone(bucket, tmp_path):
    bucket("nothing/server.log", b"ready")
    assert "no dump is there (1 not named *.msgpack)" in one_sentence(
        batch(tmp_path, "s3://fleet/nothing")[0]
    )
    assert "s3://fleet/never is not there" in one_sentence(batch(tmp_path, "s3://fleet/never")[0])
    here = fill(tmp_path / "here", a=dump())
    ran, told = batch(tmp_path, here, "s3://fleet/nothing")
    assert ran.exit_code == 0
    assert told["overview"]["objects"] == 1 and sum(told["passed_over"].values()) == 1


def test_a_store_that_refuses_the_credentials_is_told_and_stops_no_other_source(bucket, tmp_path):
    # GIVEN a store that asks who is there from now on, and does not know us
    bucket("secret/a.msgpack", encode(dump()))
    asked_after(0)
    try:
        # WHEN it is the only source, and one of two
        alone, _ = batch(tmp_path, "s3://fleet/secret")
        here = fill(tmp_path / "here", a=dump())
        beside, told = batch(tmp_path, here, "s3://fleet/secret")
    finally:
        asked_after(float("inf"))
    # THEN it is one sentence without a key, and the other source was read
    assert "s3://fleet/secret: the store refuses these credentials" in one_sentence(alone)
    assert "testing" not in alone.output
    assert beside.exit_code == 2 and told["overview"]["objects"] == 1
    assert list(told["problems"]) == ["s3://fleet/secret"]
    assert "refuses these credentials" in told["problems"]["s3://fleet/secret"]


def test_half_uploaded_objects_are_counted_by_what_is_there_of_them(bucket, tmp_path):
    # GIVEN a whole dump, a cut one, an empty one, a file that is being moved into place, and an
    # upload in parts that never ended
    whole = encode(dump())
    bucket("half/whole.msgpack", whole)
    bucket("half/cut.msgpack", whole[: len(whole) // 2])
    bucket("half/empty.msgpack", b"")
    bucket("half/.next.msgpack.0123456789abcdef.partial", whole[:99])
    begun = bucket.client.create_multipart_upload(Bucket="fleet", Key="half/parts.msgpack")
    bucket.client.upload_part(
        Bucket="fleet",
        Key="half/parts.msgpack",
        PartNumber=1,
        UploadId=begun["UploadId"],
        Body=whole[:99],
    )
    ran, told = batch(tmp_path, "s3://fleet/half")
    # THEN two objects are rows with their error, one file is passed over, and what never ended is
    # no object yet
    assert ran.exit_code == 2
    overview = told["overview"]
    assert (overview["objects"], overview["unread"]) == (3, 2)
    assert overview["errors"] == {
        "file ends early: the file is cut": 1,
        "it is empty: the upload was not finished, or nothing was written": 1,
    }
    assert sum(told["passed_over"].values()) == 1
    assert [each["count"] for each in overview["clusters"]] == [1]


def test_one_dump_twice_counts_once_in_one_store_and_across_two(bucket, tmp_path):
    bucket("twice/a.msgpack", encode(dump()))
    bucket("twice/again/a.msgpack", encode(dump()))
    here = fill(tmp_path / "here", a=dump())
    ran, told = batch(tmp_path, "s3://fleet/twice", here, "s3://fleet/twice/again")
    assert ran.exit_code == 0
    overview = told["overview"]
    assert (overview["objects"], overview["copies"]) == (3, 2)
    assert [(each["count"], each["copies"]) for each in overview["clusters"]] == [(1, 2)]


def test_three_format_versions_are_counted_and_only_the_known_one_is_read(bucket, tmp_path):
    whole = encode(dump())
    for version in (0, 1, 2):
        bucket(f"versions/v{version}.msgpack", as_version(whole, version))
    ran, told = batch(tmp_path, "s3://fleet/versions")
    assert ran.exit_code == 2
    overview = told["overview"]
    assert overview["format_versions"] == {"0": 1, "1": 1, "2": 1}
    assert overview["unread"] == 2 and overview["clusters"][0]["count"] == 1
    assert all("this triage reads format 1" in why for why in overview["errors"])


def test_clocks_apart_are_counted_and_the_stores_time_stands_for_one_ahead(bucket, tmp_path):
    bucket("clocks/behind.msgpack", encode(dump(time="2020-01-01T00:00:00+0000")))
    bucket("clocks/ahead.msgpack", encode(dump(time="2099-01-01T00:00:00+0000")))
    bucket("clocks/none.msgpack", encode(dump(time="")))
    ran, told = batch(tmp_path, "s3://fleet/clocks")
    assert ran.exit_code == 0
    overview = told["overview"]
    assert overview["clocks"] == {
        "ahead of the store's": 1,
        "the store's": 1,
        "the writer's": 1,
    }
    assert overview["newest"] < "2099"
    # AND ranks whose clocks are apart are set beside each other by step, which is said
    ranks = write(tmp_path / "d", rank(0), rank(1, when="2026-11-30T14:00:00+0000"))
    merged = CliRunner().invoke(main, ["merge", str(ranks)])
    assert merged.exit_code == 0 and "7200 s apart by their clocks" in merged.output


def test_ranks_that_are_missing_are_named_and_never_said_to_agree(tmp_path):
    folder = write(tmp_path / "d", rank(0, 4), rank(2, 4))
    merged = CliRunner().invoke(main, ["merge", str(folder)])
    assert "2 of 4 ranks have a dump; without: tp 1, 3" in merged.output
    assert merged.output.startswith("2 ranks agree")
    told = CliRunner().invoke(main, ["merge", str(folder), "--json"])
    assert json.loads(told.stdout)["groups"][0]["ranks_missing"] == [1, 3]
