"""What loading the plugin does to a process that asks for nothing, for a trap, or for nonsense."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests import prepared
from tests.sglang.conftest import VERSIONS
from triage.config import SWA_RATIO_CHOSEN, Config, from_environment
from triage.errors import ConfigError
from triage.lab import versions

BINDING = """
import json, multiprocessing as mp, sys

def child(queue):
    from triage.lab import bootstrap
    bootstrap.prepare()
    import torch
    from triage.lab.flashinfer_stub import StandInFlashInfer
    StandInFlashInfer(lambda call: torch.zeros_like(call.arguments["query"])).install()
    import flashinfer.decode
    before = flashinfer.decode.trtllm_batch_decode_with_kv_cache
    from sglang.srt.plugins import load_plugins
    load_plugins()
    from triage.sglang.install import state
    made = state()
    bound = flashinfer.decode.trtllm_batch_decode_with_kv_cache
    if made is not None:
        made.remove()
    queue.put({
        "version": bootstrap.sglang_version(),
        "bound": {} if made is None else {b.target: b.bound for b in made.bindings},
        "active": made is not None and made.active,
        "same call": bound is before,
        "restored": flashinfer.decode.trtllm_batch_decode_with_kv_cache is before,
    })
"""

SPAWNED = f"""{BINDING}
if __name__ == "__main__":
    context = mp.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(json.dumps(queue.get(timeout=200)))
    process.join()
"""

HERE = f"""{BINDING}
class Printed:
    put = staticmethod(lambda found: print(json.dumps(found)))
child(Printed)
"""

QUIET = """
import sys
from triage.plugin import register
register()
print(sorted(m for m in ("torch", "triton", "sglang", "numpy", "msgpack") if m in sys.modules))
"""


def run(code: str, version: str | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
    """A Python that imports everything itself, as one of a server does."""
    environment = dict(os.environ) if version is None else versions.environment(version)
    return subprocess.run(
        [sys.executable, "-"] if "spawn" not in code else [sys.executable, _file(code)],
        input=code,
        capture_output=True,
        text=True,
        timeout=300,
        env={**environment, **extra},
    )


def _file(code: str) -> str:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as file:
        file.write(code)
    return file.name


def test_asked_for_nothing_it_imports_nothing():
    done = run(QUIET)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SGLANG_TRTLLM_MHA_DEBUG_MODE", "armed by SGLANG_TRTLLM_MHA_DEBUG=1 only"),
        ("SGLANG_TRTLMM_MHA_DEBUG", "is SGLANG_TRTLLM_MHA_DEBUG meant?"),
        ("SGLANG_TRTLLM_MHA_DEBUGMODE", "is SGLANG_TRTLLM_MHA_DEBUG_MODE meant?"),
        ("SGLNAG_TRIAGE_FIXES", "is SGLANG_TRIAGE_FIXES meant?"),
    ],
)
def test_a_variable_that_has_no_effect_is_answered_and_imports_nothing(name, said):
    done = run(QUIET, **{name: "contain"})
    assert done.returncode == 0 and done.stdout.strip() == "[]"
    assert f"{name}='contain' has no effect" in done.stderr and said in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("SGLANG_TRTLLM_MHA_DEBUG", "maybe", "0 or 1"),
        ("SGLANG_TRTLLM_MHA_DEBUG_MODE", "explode", "raise, contain, log"),
        ("SGLANG_TRTLLM_MHA_DEBUG_CHECKS", "I99", "all, reads, writes"),
        ("SGLANG_TRTLLM_MHA_DEBUG_MAX_DUMPS", "-1", "at least 1"),
        ("SGLANG_TRTLLM_MHA_DEBUG_EVERY", "0", "at least 1"),
    ],
)
def test_a_value_that_does_not_parse_stops_the_server_with_what_is_accepted(name, value, accepted):
    done = run(QUIET, **{name: value})
    assert done.returncode == 1
    assert name in done.stderr and repr(value) in done.stderr and accepted in done.stderr


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("SGLANG_TRTLLM_MHA_DEBUG_CHEKS", "SGLANG_TRTLLM_MHA_DEBUG_CHECKS"),
        ("SGLANG_TRIAGE_FIX", "SGLANG_TRIAGE_FIXES"),
    ],
)
def test_a_variable_that_nobody_reads_is_refused_with_those_that_are_read(name, accepted):
    # GIVEN a name of ours with a typing error, beside one without
    environment = {"SGLANG_TRTLLM_MHA_DEBUG": "1", name: "reads"}
    # WHEN the environment is read
    with pytest.raises(ConfigError) as caught:
        from_environment(environment)
    # THEN it is named, and so is what was meant
    assert f"{name}='reads' is not a variable" in str(caught.value)
    assert accepted in str(caught.value)


def test_what_the_launcher_notes_for_its_children_is_no_typing_error():
    assert from_environment({SWA_RATIO_CHOSEN: "1", "SGLANG_TRIAGE_FIXES": ""}) == Config()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_spawned_process_binds_every_trap_through_sglangs_own_loader(version):
    done = run(
        SPAWNED,
        version,
        SGLANG_TRTLLM_MHA_DEBUG="1",
        SGLANG_TRIAGE_FIXES="state-swap",
        SGLANG_TRTLLM_MHA_DEBUG_CHECKS="reads,allocator",
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["version"] == version
    assert report["active"] and all(report["bound"].values())
    for target in ("trtllm_batch_decode_with_kv_cache", "alloc_decode"):
        assert any(bound.endswith(target) for bound in report["bound"])
    # what every layer calls is patched, and removing us puts the very object back
    assert not report["same call"] and report["restored"]
    # the fix probes as ALREADY_FIXED on both, so it binds nothing
    assert not any(bound.endswith("target_kv_pool_view") for bound in report["bound"])


@pytest.mark.parametrize(("module", "binds"), [("sglang.launch_server", False), ("serve", True)])
def test_the_launcher_leaves_the_traps_to_the_processes_that_it_spawns(module, binds, tmp_path):
    # GIVEN a program of that name that loads the plugin, as SGLang's launcher does
    program = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
    program.parent.mkdir(exist_ok=True)
    (program.parent / "__init__.py").touch()
    program.write_text(
        "import sys\nfrom triage.plugin import register\n"
        "try:\n    register()\nfinally:\n    print('triage.sglang' in sys.modules)\n"
    )
    # WHEN the traps are asked for
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "SGLANG_TRTLLM_MHA_DEBUG": "1",
        "SGLANG_TRTLLM_MHA_DEBUG_STRICT": "0",
        "SGLANG_TRIAGE_FIXES": "state-swap",
        "TRITON_INTERPRET": "1",
    }
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    # THEN only a process that may run forwards goes on to bind them
    assert done.stdout.splitlines()[-1:] == [str(binds)], done.stderr


def test_asked_for_nothing_a_process_keeps_the_very_same_functions():
    report = json.loads(prepared.python("-c", HERE).stdout.splitlines()[-1])
    assert report["bound"] == {} and report["same call"]


def test_a_trap_that_cannot_be_bound_stops_the_server():
    # GIVEN an SGLang whose FlashInfer is not there
    code = """
from triage.lab import bootstrap
bootstrap.prepare()
from sglang.srt.plugins import load_plugins
load_plugins()
print("went on")
"""
    done = prepared.python("-c", code, env={"SGLANG_TRTLLM_MHA_DEBUG": "1"})
    # THEN it says what is missing and does not go on
    assert done.returncode == 1 and "went on" not in done.stdout
    assert "flashinfer.decode.trtllm_batch_decode_with_kv_cache" in done.stderr
    # AND with STRICT=0 it says the same and goes on
    lenient = {"SGLANG_TRTLLM_MHA_DEBUG": "1", "SGLANG_TRTLLM_MHA_DEBUG_STRICT": "0"}
    done = prepared.python("-c", code, env=lenient)
    assert "went on" in done.stdout and "NOT active" in done.stderr + done.stdout


def test_an_unknown_fix_lists_the_known_ones():
    code = "from triage.lab import bootstrap; bootstrap.prepare()\n" + QUIET
    done = prepared.python("-c", code, env={"SGLANG_TRIAGE_FIXES": "state-swop"})
    assert done.returncode == 1
    assert "'state-swop'" in done.stderr and "state-swap" in done.stderr
