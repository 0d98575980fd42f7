"""The false-alarm run: drawn from a seed, and silent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from triage.lab.floor2 import CACHES
from triage.lab.soak import PAGE_SIZES, draw


def test_workloads_follow_from_the_seed_and_vary():
    first = [draw(np.random.default_rng(5), "0.5.18", CACHES) for _ in range(3)]
    assert first[0] == first[1]
    rng = np.random.default_rng(0)
    drawn = [draw(rng, "0.5.18", CACHES)[0] for _ in range(60)]
    assert {scenario.draft for scenario in drawn} == {"frozen", "eagle", "none"}
    assert {scenario.geometry.page_size for scenario in drawn} == set(PAGE_SIZES)
    assert all(scenario.concurrency <= 4 for scenario in drawn)


def test_known_wrong_combinations_are_not_drawn():
    rng = np.random.default_rng(1)
    drawn = [draw(rng, "0.5.12.post1", CACHES) for _ in range(60)]
    assert all(scenario.draft != "eagle" and scenario.keeps_rejected for scenario, _ in drawn)
    assert all(overlap for scenario, overlap in drawn if scenario.draft == "frozen")


def test_nothing_fires_in_a_short_run(tmp_path: Path):
    command = [sys.executable, "-m", "triage", "lab", "soak", "--steps", "120", "--seed", "3"]
    done = subprocess.run(
        [*command, "--json", "--dir", str(tmp_path)], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["steps"] >= 120 and report["alarms"] == report["findings"] == []
