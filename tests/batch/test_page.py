"""The page of a batch: one file, nothing loaded, nothing of a stranger's is markup."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.batch.folder import dump, fill
from triage.batch.run import run
from triage.cli import main
from triage.engines import Inline

ATTACK = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    stale = dump()
    attack = replace(stale, fault=replace(stale.fault, where=ATTACK, pool=ATTACK), launch=None)
    fill(
        folder / "dumps",
        one=stale,
        two=dump(time="2026-11-23T10:00:00+0000"),
        slots=dump("page starts"),
        attack=replace(attack, tables=None),
    )
    (folder / "dumps" / f"{'x' * 20}.msgpack").write_text(ATTACK)
    run([str(folder / "dumps")], folder / "r.parquet", Inline)
    return folder / "r.parquet"


@pytest.fixture(scope="module")
def page(results) -> str:
    ran = CliRunner().invoke(
        main, ["batch", "report", str(results), "-o", str(results.with_name("page.html"))]
    )
    assert ran.exit_code == 0, ran.output
    return results.with_name("page.html").read_text()


def test_clusters_trend_versions_and_what_was_not_read_are_on_it(page):
    assert "stale-swa-state" in page and "slots-as-pages" in page
    assert "2026-11-20: 2, 2026-11-23: 1" in page or "2026-11-20: 3, 2026-11-23: 1" in page
    assert "sglang 0.5.14, flashinfer-python 0.6.12" in page
    assert "1: this is not an sglang-triage dump" in page


def test_links_lead_to_files_that_are_there(page, results):
    links = re.findall(r'href="([^#"][^"]*)"', page)
    assert links and all((results.parent / link).is_file() for link in links)
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{anchor}"' in page


def test_it_loads_nothing_and_what_a_stranger_wrote_is_text(page):
    assert "<script" not in page and "src=" not in page
    assert "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page


def test_the_json_has_every_cluster_and_obeys_its_schema(results):
    import json

    import jsonschema

    from triage.files.reports import schema_of

    ran = CliRunner().invoke(main, ["batch", "report", str(results), "--json"])
    told = json.loads(ran.stdout)
    jsonschema.validate(told, schema_of("batch-report"))
    assert len(told["clusters"]) == 3 and told["unread"] == 1
    out = results.with_name("again.parquet")
    source = str(results.parent / "dumps")
    ran = CliRunner().invoke(main, ["batch", source, "--out", str(out), "--json", "--workers", "1"])
    jsonschema.validate(json.loads(ran.stdout), schema_of("batch"))


def test_what_is_no_results_file_is_refused(tmp_path):
    (tmp_path / "x").write_text("no")
    ran = CliRunner().invoke(main, ["batch", "report", str(tmp_path / "x"), "--json"])
    assert ran.exit_code == 2 and "no results file" in ran.output
    ran = CliRunner().invoke(main, ["batch", "report", str(tmp_path / "y"), "--json"])
    assert ran.exit_code == 2 and "cannot read" in ran.output
