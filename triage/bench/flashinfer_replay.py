"""FlashInfer's own replay beside ours, on the same captured call.

The call is a recorded launch with ids outside the cache, made on the CPU through
the installed FlashInfer with its level-10 logging on. FlashInfer writes a call's
inputs before the call, so what is left is what a crash leaves: inputs, no
outputs. That directory is given to its replay and, imported, to ours.

Its replay runs twice: as this machine is, where it ends at FlashInfer's check
for a CUDA device, and with the launch replaced by one that returns, as an
asynchronous launch does before it faults. Everything above the launch is
FlashInfer's. Its replay imports whatever a dump's metadata names: nothing but
our own capture is ever given to it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from triage.bench.figure import Figure, median_seconds, skipped
from triage.dump.file import read_dump
from triage.importers import import_path
from triage.replay.deduction import deduce
from triage.replay.verdict import Outcome, Verdict

NAME = "FlashInfer's replay of an inputs-only dump"
OURS = "import and replay of that dump, ours"
TIMEOUT_S = 300.0
REPEATS = 5


def figures(path: Path) -> list[Figure]:
    """Both replays of the launch in `path`; a named skip where FlashInfer is not installed."""
    if importlib.util.find_spec("flashinfer") is None:
        return [skipped(NAME, "flashinfer-python is not installed")]
    with tempfile.TemporaryDirectory(prefix="triage-flashinfer-") as scratch:
        calls = Path(scratch) / "calls"
        _child(Path(scratch), "capture", path, level=10, calls=calls)
        (call,) = calls.glob("*_call0001")
        theirs = json.loads(_child(Path(scratch), "replay", call, level=0))
        command = [sys.executable, "-m", "flashinfer", "replay", "--dir", str(call)]
        exit_code = _run(command, _environment(Path(scratch), 0, None)).returncode
        launch = read_dump(path).launch
        assert launch is not None
        shape = (launch.num_pages, launch.num_kv_heads, launch.page_size, launch.head_dim)

        def ours() -> Verdict:
            return deduce(import_path(call, cache_shape=shape))

        verdict, seconds = ours(), median_seconds(ours, REPEATS)
    returned, alone = theirs["launch returns"], theirs["as it is"]
    return [
        Figure(
            NAME,
            returned["ms"],
            "ms",
            beside=f"FlashInfer {theirs['version']}: {returned['verdict']} (the launch replaced by "
            f"one that returns); without a GPU {alone['verdict']}; its command here exits "
            f"{exit_code}",
        ),
        Figure(
            OURS,
            seconds * 1e3,
            "ms",
            "REPRODUCED",
            verdict.outcome is Outcome.REPRODUCED,
            f"{verdict.outcome}, exit code {verdict.exit_code}: {verdict.reasons[0]}",
        ),
    ]


def _child(scratch: Path, task: str, path: Path, *, level: int, calls: Path | None = None) -> str:
    """The last line that `task` prints in a process of its own."""
    command = [sys.executable, "-m", "triage.bench.flashinfer_replay", task, str(path)]
    done = _run(command, _environment(scratch, level, calls))
    if done.returncode:
        raise RuntimeError(f"{task} with FlashInfer failed: {done.stderr.strip()[-500:]}")
    return done.stdout.splitlines()[-1] if done.stdout else ""


def _environment(scratch: Path, level: int, calls: Path | None) -> dict[str, str]:
    """FlashInfer reads its settings when it is imported, hence a process for each."""
    return {
        **os.environ,
        "FLASHINFER_LOGLEVEL": str(level),
        "FLASHINFER_LOGDEST": os.devnull,
        "FLASHINFER_WORKSPACE_BASE": str(scratch),
        "FLASHINFER_DUMP_DIR": str(calls or scratch / "none"),
        "FLASHINFER_DUMP_SAFETENSORS": "1",
    }


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )


def capture(path: Path) -> None:
    """Make the recorded call on the CPU; it fails once FlashInfer has written its inputs."""
    import torch

    from triage.dump.expected_ids import tables_of
    from triage.dump.flashinfer_api import DECODE

    decode = importlib.import_module("flashinfer.decode")
    dump = read_dump(path)
    launch, tables = dump.launch, tables_of(dump)
    assert launch is not None
    cache = torch.zeros(
        launch.num_pages, launch.num_kv_heads, launch.page_size, launch.head_dim, dtype=torch.half
    )
    rows = len(tables.cache_seqlens)
    try:
        getattr(decode, DECODE)(
            query=torch.zeros(rows, launch.num_q_heads, launch.head_dim, dtype=torch.half),
            kv_cache=(cache, cache.clone()),
            workspace_buffer=torch.zeros(1 << 10, dtype=torch.uint8),
            block_tables=torch.from_numpy(tables.page_table.padded().astype("int32")),
            seq_lens=torch.from_numpy(tables.cache_seqlens.astype("int32")),
            max_seq_len=launch.max_seq_len,
            bmm1_scale=launch.head_dim**-0.5,
            bmm2_scale=1.0,
            window_left=launch.window_left,
            q_len_per_req=1,
        )
    except (ValueError, RuntimeError, AssertionError) as error:
        print(f"as expected on a CPU: {error}")
    else:
        raise SystemExit("the call returned, so its dump would hold outputs")


def replay(call: Path) -> dict[str, Any]:
    """What FlashInfer's replay says of `call`, as it is and with a launch that returns."""
    logging = importlib.import_module("flashinfer.api_logging")
    decode = importlib.import_module("flashinfer.decode")

    def run() -> dict[str, Any]:
        found: dict[str, Any] = logging.replay_from_dump(
            str(call), compare_outputs=True, device="cpu", run=True
        )
        return found

    answers: dict[str, Any] = {"as it is": _judged(run)}
    returns = SimpleNamespace(trtllm_paged_attention_decode=lambda *arguments: None)
    with mock.patch.multiple(
        decode,
        get_trtllm_gen_fmha_module=lambda: returns,
        get_compute_capability=lambda device: (10, 0),
        get_device_sm_count=lambda device: 148,
        device_support_pdl=lambda device: False,
    ):
        answers["launch returns"] = _judged(run)
    version = importlib.import_module("flashinfer").__version__
    return {**answers, "version": version}


def _judged(run: Any) -> dict[str, Any]:
    """FlashInfer's own wording for its result, and the milliseconds of a run."""
    result = run()
    spent = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        spent.append(time.perf_counter() - started)
    verdict = "outputs did not match"
    if result.get("comparison_match"):
        verdict = "Replay passed (outputs matched)"
    elif result.get("execution_error"):
        verdict = f"Execution failed: {result['execution_error']}"
    return {"verdict": verdict, "ms": sorted(spent)[len(spent) // 2] * 1e3}


if __name__ == "__main__":
    task, path = sys.argv[1], Path(sys.argv[2])
    if task == "capture":
        capture(path)
    else:
        print(json.dumps(replay(path)))
