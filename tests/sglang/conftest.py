"""Runs the lab in processes of their own and shares the results: SGLang's hooks stay bound."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests import prepared

os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported, with the traps

VERSIONS = ("0.5.18", pytest.param("0.5.12.post1", marks=pytest.mark.slow))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`lab(version, *options)` -> report of `triage lab run smoke`, one process per question."""
    directory = tmp_path_factory.mktemp("dumps")

    @functools.cache
    def run(version: str, *options: str) -> dict[str, Any]:
        command = ("-m", "triage", "lab", "run", "smoke", "--json", "--sglang", version)
        done = prepared.python(*command, "--dir", directory, *options, version=version)
        assert done.returncode in (0, 1), done.stderr
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert report["sglang"] == version
        return report

    return run


@pytest.fixture(scope="session")
def runtime() -> Any:
    """Real pools, allocator and backends of the installed SGLang, hooks not bound."""
    from triage.lab import bootstrap

    bootstrap.prepare()
    import torch

    from triage.lab.flashinfer_stub import StandInFlashInfer
    from triage.lab.runtime import Runtime
    from triage.lab.scenarios import find

    StandInFlashInfer(lambda call: torch.zeros_like(call.arguments["query"])).install()
    return Runtime(find("smoke").geometry, draft_tokens=4, draft_steps=3)


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    return tmp_path / "dumps"
