"""The traps bind and stay silent on every SGLang release that the environment has."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests import prepared
from triage.lab.matrix import EVERYTHING

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
RELEASES = (
    *PROJECT["tool"]["triage"]["lab"]["sglang_versions"],
    PROJECT["tool"]["triage"]["lab"]["no_deps"][0].removeprefix("sglang=="),
)


@pytest.mark.slow
@pytest.mark.parametrize("release", sorted(RELEASES))
def test_smoke_is_clean_with_every_family_armed(release: str, tmp_path: Path):
    command = ("-m", "triage", "lab", "run", "smoke", "--json")
    options = ["--sglang", release, "--checks", EVERYTHING, "--fix", "auto", "--dir", str(tmp_path)]
    done = prepared.python(*command, *options, version=release, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["sglang"] == release
    assert report["outcome"] == "clean" and report["launches"] > 1000
    assert report["trap_counts"]["tables"] > report["steps"]
