"""A server whose dumps go to an object store: bound by SGLang's own loader, as in a fleet."""

from __future__ import annotations

import time

import pytest

from tests import prepared
from triage import config

SERVER = """
from triage.lab import bootstrap
bootstrap.prepare()
from triage.lab.flashinfer_stub import StandInFlashInfer
StandInFlashInfer(lambda call: None).install()
from sglang.srt.plugins import load_plugins
load_plugins()
from triage.sglang.install import state
from tests.batch.folder import dump
print(state().traps.reporter.store.save(dump(), "kind")[0].name)
"""


@pytest.mark.slow
def test_a_dump_of_an_armed_process_arrives_after_its_end(tmp_path):
    # GIVEN a process of SGLang's that is armed with a URL, and ends right after its dump
    far = tmp_path / "far"
    asked = {
        config.DEBUG: "1",
        config.DIRECTORY: f"file://{far}",
        config.SPOOL: str(tmp_path / "spool"),
    }
    done = prepared.python("-c", SERVER, env=asked)
    assert done.returncode == 0, done.stderr
    name = done.stdout.splitlines()[-1]
    # THEN the dump arrives, and the process had waited for nothing but its own disk
    until = time.monotonic() + 120
    while not (far / name).exists() and time.monotonic() < until:
        time.sleep(0.2)
    assert (far / name).read_bytes() == (tmp_path / "spool" / name).read_bytes()


@pytest.mark.slow
def test_a_url_that_names_no_bucket_stops_the_process_at_its_start():
    done = prepared.python("-c", SERVER, env={config.DEBUG: "1", config.DIRECTORY: "s3://"})
    assert done.returncode != 0
    assert "names no bucket" in done.stderr
