"""Every command that takes `--engine ray`, on a cluster that runs already and loses a worker.

What it leaves is held against the local engine's: the same bytes, but for times and for the
memory that a process took.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.batch.folder import dump, fill
from tests.engines.ray_cluster import ROOT, Cluster, head

pytest.importorskip("ray", reason="the extra `fleet` is not installed")
pytestmark = pytest.mark.slow

MEASURED = ("seconds", "slowest_s", "over_kib", "steps_per_second")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with head() as running:
        yield running


def run(cluster: Cluster, *arguments: object, address: str = "", code: int = 0) -> str:
    """What `python -m *arguments` prints; over Ray where an address is given."""
    ran = subprocess.run(
        [sys.executable, "-m", *map(str, arguments), "--engine", "ray" if address else "local"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**cluster.environment, "RAY_ADDRESS": address},
    )
    assert ran.returncode == code, ran.stderr
    return ran.stdout


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(held) for key, held in value.items() if key not in MEASURED}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def lines(path: Path) -> list[str]:
    """Of a file of JSON lines, sorted."""
    return sorted(json.dumps(timeless(json.loads(line))) for line in path.read_text().splitlines())


@pytest.mark.parametrize("kind", ["its client", "its head"])
def test_a_batch_over_a_running_cluster_is_the_file_that_processes_make(cluster, tmp_path, kind):
    # GIVEN a folder with what can be explained and what cannot
    tables = ("full ids", "page starts", "right", "divided twice")
    folder = fill(
        tmp_path / "dumps",
        **{f"d{number:04d}": dump(tables[number % 4], step=number) for number in range(1200)},
    )
    (folder / "cut.msgpack").write_bytes((folder / "d0000.msgpack").read_bytes()[:500])
    batch = ("triage", "batch", folder, "--replay", "--no-exemplars", "--workers", 2, "--out")
    plain, made = tmp_path / "local.parquet", tmp_path / "ray.parquet"
    run(cluster, *batch, plain, code=2)
    # WHEN a cluster makes it, by `ray://` or by its head, and loses a worker
    address = cluster.client if kind == "its client" else cluster.address
    with cluster.one_worker_killed("rows_of", below=False):
        said = run(cluster, *batch, made, address=address, code=2)
    # THEN nobody can tell the files apart
    assert said.startswith("1201 objects read with engine ray") and "(raylet)" not in said
    assert made.read_bytes() == plain.read_bytes()


def test_the_matrix_over_ray_is_the_local_one_to_the_byte(cluster, tmp_path):
    matrix = ("triage", "lab", "matrix", "int64-table", "double-free", "--json", "--dir", tmp_path)
    with cluster.one_worker_killed("run_triage", below=True):
        made = run(cluster, *matrix, address=cluster.address)
    assert [row["caught"] for row in json.loads(made)["rows"]] == [True, True]
    assert made == run(cluster, *matrix)


def test_kernels_are_validated_over_ray_with_the_same_results(cluster):
    validate = (
        *("triage", "kernels", "validate", "gemma_rmsnorm_add", "--dtype", "float32", "--json"),
        *("--check", "empty-batch", "--check", "dtype-follows-input"),
    )
    with cluster.one_worker_killed("run_triage", below=True):
        made = run(cluster, *validate, address=cluster.client)
    results = [json.loads(each)["results"] for each in (made, run(cluster, *validate))]
    over_ray, plain = (sorted(json.dumps(timeless(row)) for row in each) for each in results)
    assert len(plain) == 2 and over_ray == plain


def test_a_soak_over_ray_draws_the_same_lifecycles(cluster, tmp_path):
    # GIVEN a hundred and twenty steps in two shares
    soak = ("triage", "lab", "soak", "--steps", 120, "--jobs", 2, "--dir", tmp_path, "--output")
    # WHEN processes and Ray's workers play them, one of which is killed at its start
    run(cluster, *soak, tmp_path / "local.jsonl")
    with cluster.one_worker_killed("play_share", below=True):
        run(cluster, *soak, tmp_path / "ray.jsonl", address=cluster.address)
    # THEN both shares played the same
    for share in (0, 1):
        plain = lines(tmp_path / f"local-{share}.jsonl")
        assert plain and lines(tmp_path / f"ray-{share}.jsonl") == plain


def test_torture_over_ray_comes_to_the_same(cluster, tmp_path):
    # GIVEN a little of every attack but injection, which takes minutes
    sizes = ("--reader", 400, "--importer", 100, "--kills", 4, "--every", 0, "--plugins", "")
    for name, address in (("local", ""), ("ray", cluster.address)):
        # WHEN each part is played, over Ray by workers of which one is killed
        lost = cluster.one_worker_killed("play", below=True) if address else nullcontext()
        with lost:
            torture = ("tests.torture.long", *sizes, "--workers", 2, "--out", tmp_path / name)
            run(cluster, *torture, address=address)
    # THEN each left its file, and they say the same but for what chance decides
    found = {
        name: sorted(each.name for each in (tmp_path / name).glob("*.json"))
        for name in ("local", "ray")
    }
    assert found["ray"] == found["local"] and len(found["local"]) == 4
    left = {
        name: {file: json.loads((tmp_path / name / file).read_text()) for file in found["local"]}
        for name in found
    }
    assert left["ray"]["secrets.json"] == left["local"]["secrets.json"]
    for name in left:
        # (how many dumps were whole when a kill at random came is chance; that none is torn is not)
        for kills in left[name]["kills.json"].values():
            assert kills["kills"] > 0 == kills["torn"] == kills["leftovers"]
        # (what coverage draws follows from the corpus, which a killed fuzzer leaves to the next)
        for file in ("importer.json", "reader.json"):
            tried = left[name][file]
            assert tried["inputs"] == tried["results"] + tried["refused"] and not tried["wrong"]
            assert tried["inputs"] in sizes
    assert left["ray"]["kills.json"].keys() == left["local"]["kills.json"].keys()


def test_a_cluster_whose_token_we_lack_is_refused_with_what_to_do(cluster, tmp_path):
    folder = fill(tmp_path / "dumps", a=dump())
    without = {key: value for key, value in cluster.environment.items() if "RAY_AUTH" not in key}
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "triage", "batch", str(folder), "--engine", "ray"),
            *("--out", str(tmp_path / "r.parquet")),
        ],
        capture_output=True,
        text=True,
        env={**without, "RAY_ADDRESS": cluster.client},
    )
    assert ran.returncode == 2
    assert "wants RAY_AUTH_MODE=token here" in ran.stderr.splitlines()[-1]
