"""The page about batches: its columns are those of the file, its queries run."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from tests.batch.folder import dump, fill
from triage.batch.results import arrow_schema
from triage.batch.rows import column_types
from triage.batch.run import run
from triage.engines import Inline

PAGE = (Path(__file__).resolve().parents[2] / "docs/batch.md").read_text()
QUERIES = [
    query.strip()
    for block in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    for query in block.split(";")
    if query.strip()
]


def test_every_column_is_told_with_its_type_in_the_order_of_the_file():
    told = re.findall(r"^\| `(\w+)` \| (text|integer|time) \|", PAGE, re.MULTILINE)
    assert dict(told) == column_types()
    assert [name for name, _ in told] == arrow_schema().names


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queries")
    fill(
        folder / "dumps",
        old=dump(time="2026-10-01T10:00:00+0000"),
        new=dump(time="2026-11-20T10:00:00+0000"),
        slots=dump("page starts", time="2026-11-21T10:00:00+0000"),
        right=dump("right"),
    )
    (folder / "dumps/cut.msgpack").write_bytes((folder / "dumps/old.msgpack").read_bytes()[:99])
    run([str(folder / "dumps")], folder / "results.parquet", Inline, replay="emulator")
    return folder


def asked(here: Path, number: int) -> list[tuple]:
    query = QUERIES[number].replace("'results.parquet'", f"'{here / 'results.parquet'}'")
    return duckdb.sql(query).fetchall()


def test_the_queries_answer_what_the_page_says_of_them(here):
    frequent, new, releases, replays, errors = (asked(here, n) for n in range(5))
    assert [(row[0], row[3]) for row in frequent] == [("stale-swa-state", 2), ("slots-as-pages", 1)]
    assert [row[1] for row in new] == ["slots-as-pages"]  # the other was seen in October
    assert releases == [("slots-as-pages", "0.5.14", 1), ("stale-swa-state", "0.5.14", 2)]
    assert ("stale-swa-state", "REPRODUCED", 2) in replays
    assert [(row[0], row[1]) for row in errors] == [("file ends early: the file is cut", 1)]
    assert len(QUERIES) == 5
