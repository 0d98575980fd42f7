"""STRICT ends a process that serves nobody yet, and never one that serves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests import prepared
from triage.device.checker import CheckRefused
from triage.dump.store import DumpStore
from triage.sglang.launch import watching
from triage.sglang.launch.attention import AttentionHooks
from triage.sglang.scheduler.scheduling import Scheduling
from triage.sglang.traps import Traps


@pytest.fixture
def unwatched(monkeypatch):
    """A backend whose launches cannot be checked."""

    def refuse(*_):
        raise CheckRefused("a page size of 7")

    monkeypatch.setattr(watching, "watch_for", refuse)


def constructed(traps):
    """SGLang constructs a backend; what it gets."""
    hooks = AttentionHooks(traps.launches)
    around = traps.reporter.launch_shell.around(hooks.constructed)
    runner = SimpleNamespace(token_to_kv_pool=None)
    return around(lambda *_: "constructed", Backend(), runner)


class Backend:
    """Noted by weak reference."""

    req_to_token, page_size = None, 7


def test_a_backend_that_cannot_be_watched_ends_the_start_and_never_the_serving(
    unwatched, tmp_path, caplog
):
    # GIVEN STRICT, before the scheduler's loop
    traps = Traps(DumpStore(tmp_path), strict=True)
    with pytest.raises(SystemExit, match="launches cannot be checked: a page size of 7"):
        constructed(traps)
    # WHEN a backend is constructed while the loop runs
    traps = Traps(DumpStore(tmp_path), strict=True)
    scheduling = Scheduling(traps.steps, traps.history, traps.launches.hot)
    around = traps.reporter.shells.of("snapshots").around(scheduling.run_event_loop)
    # THEN SGLang has it, and what is not checked is told and counted
    assert around(lambda _: constructed(traps), SimpleNamespace()) == "constructed"
    assert list(traps.reporter.shells.failures) == ["checks of launches and steps: switched off"]
    assert traps.counts["internal errors"] == 1 and "InstallError" in caplog.text


def test_without_strict_it_starts_and_says_what_is_not_covered(unwatched, tmp_path, caplog):
    traps = Traps(DumpStore(tmp_path), strict=False)
    assert constructed(traps) == "constructed"
    assert traps.launches.watching.refused_to_arm == "a page size of 7"
    assert "launches are NOT covered" in caplog.text


BROKEN = """
from triage.lab import bootstrap
bootstrap.prepare()
from triage.lab.flashinfer_stub import StandInFlashInfer
StandInFlashInfer(lambda call: None).install()
import flashinfer.decode
before = flashinfer.decode.trtllm_batch_decode_with_kv_cache
import triage.sglang.{module} as module
def broken(*_, **__):
    raise KeyError("a mistake of ours")
module.{name} = broken
from sglang.srt.plugins import load_plugins
load_plugins()
from triage.sglang.install import state
made = state()
print("goes on", made is None or (made.active, made.traps.armed))
print(flashinfer.decode.trtllm_batch_decode_with_kv_cache is before)
"""


@pytest.mark.parametrize("name", ["binding.hooks:bindings", "install:_trap_hooks"])
def test_a_mistake_of_ours_at_the_start_leaves_sglang_alone_or_with_strict_ends_it(name):
    module, _, function = name.partition(":")
    code = BROKEN.format(module=module, name=function)
    for strict in ("0", "1"):
        asked = {"SGLANG_TRTLLM_MHA_DEBUG": "1", "SGLANG_TRTLLM_MHA_DEBUG_STRICT": strict}
        done = prepared.python("-c", code, env=asked)
        said = done.stdout + done.stderr
        assert "NOT active" in said and "KeyError" in said and "Traceback" in said
        if strict == "1":
            assert done.returncode == 1 and "goes on" not in done.stdout
        else:
            last = done.stdout.splitlines()[-2:]
            assert last[0] in ("goes on True", "goes on (False, False)") and last[1] == "True"
