"""Ray's workers give what a plain loop gives: on a cluster of this machine, one that runs already.

The commands that take `--engine ray` are played in `test_ray_commands.py`; this is the engine.
Ray's own processes take ten seconds to start, so most of it is marked slow.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.batch.folder import dump, fill
from tests.engines import work
from triage.engines import EngineError, Lost, engine

os.environ.setdefault("RAY_AUTH_MODE", "token")  # read as Ray is imported
pytest.importorskip("ray", reason="the extra `fleet` is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own: sockets and files it leaves open

ROOT = Path(__file__).resolve().parents[2]


def test_a_batch_over_ray_makes_the_very_file_that_processes_make(tmp_path):
    # GIVEN a folder with what can be explained, what cannot be read, and a copy
    folder = fill(tmp_path / "dumps", a=dump(), b=dump(), c=dump("page starts"), d=dump("right"))
    (folder / "cut.msgpack").write_bytes((folder / "a.msgpack").read_bytes()[:500])
    # WHEN both engines explain it
    for name in ("local", "ray"):
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "triage", "batch", str(folder), "--replay"),
                *("--engine", name, "--workers", "2", "--no-exemplars"),
                *("--out", str(tmp_path / f"{name}.parquet")),
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "RAY_ADDRESS": ""},
        )
        assert ran.returncode == 2, ran.stderr
        assert f"engine {name}" in ran.stdout and "2 clusters" in ran.stdout
    # THEN nobody can tell the files apart
    made, plain = tmp_path / "ray.parquet", tmp_path / "local.parquet"
    assert made.read_bytes() == plain.read_bytes()


CLUSTER = """
import os, sys, ray
started = ray.init(
    num_cpus=2, num_gpus=2, include_dashboard=False,
    object_store_memory=100 << 20, log_to_driver=False, logging_level="ERROR",
)
print(started.address_info["address"], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster():
    """A cluster that runs already, of two processors and two GPUs that it only says it has."""
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"},
    ) as running:
        yield running.stdout.readline().strip()
        running.stdin.close()


@pytest.mark.slow
def test_a_killed_worker_changes_nothing_and_a_deadly_task_is_told(cluster, tmp_path):
    with closing(engine("ray", 2, address=cluster)) as made:
        tasks = [(number, str(tmp_path / "killed")) for number in range(12)]
        assert sorted(answer for _, answer in made.map(work.die_once, tasks)) == list(range(12))
        assert (tmp_path / "killed").exists()

        answers = dict(made.map(work.die_of, [(number, 5) for number in range(8)]))
        assert isinstance(answers.pop((5, 5)), Lost)
        assert sorted(answers.values()) == [0, 1, 2, 3, 4, 6, 7]

        with pytest.raises(ValueError, match="not 0"):
            list(made.map(work.fail, [0]))


@pytest.mark.slow
def test_tasks_are_taken_as_workers_free_up_and_each_has_its_own_gpu(cluster):
    taken = 0

    def tasks():
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    with closing(engine("ray", 2, address=cluster, gpus=1)) as made:
        given = made.map(work.gpu_of, tasks())
        seen = [next(given)[1] for _ in range(4)]
        assert set(seen) == {"0", "1"}
        assert taken <= 4 + 2 * 2
        given.close()
    with pytest.raises(EngineError, match="asks for 3 GPUs, and the cluster has 2"):
        engine("ray", 2, address=cluster, gpus=3)


def test_a_cluster_that_is_not_there_is_one_sentence_at_once():
    with pytest.raises(EngineError, match=r"no Ray cluster at '127.0.0.1:9': Connection refused"):
        engine("ray", address="127.0.0.1:9")
