"""Two GPUs, one server of tensor-parallel ranks, one rank's table made wrong while it serves.

    python -m triage.bench.gpu_ranks --out DIR --budget-s 150

A real SGLang server with --tp 2 (small E4B: two KV heads, one a rank; no draft, so that the
target decodes through trtllm_mha) under SGLANG_TRTLLM_MHA_DEBUG=1 alone:

    kernel   torch's profiler over the recorder's kernel on one GPU, while the server starts
    sound    a load, a snapshot of every rank: `triage merge` must find them alike
    wrong    rank 1's first two rows exchange their newest sliding page (`page-exchange`): an
             alarm, dumps of all ranks, and `triage merge` must name rank 1 and the alarm's step

NVLink multicast stays off, and SGLang's own all-reduce with it. `ranks.json`, the dumps and the
server's log lie in DIR. Exit code 0 if all held, 1 if not, 3 if it cannot run here.

Long because one script is the whole play: server, loads, snapshots, verdict.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from triage.dump.peers import parent_of
from triage.dump.snap import SnapError, is_armed, snap
from triage.errors import LabError
from triage.lab.server import defects, flags, load, machine, server_log, shapes
from triage.lab.server.process import Server
from triage.lab.server.smoke import archive
from triage.lab.server.smoke.job_server import Job
from triage.lab.server.smoke.rig import GRACE_S, VOCAB
from triage.lab.server.smoke.run import (
    SHAPE,
    bundled_caches,
    described,
    port_of,
    product_plugin,
    server_flags,
)
from triage.ranks import Merged, merge

DEFECT, WRONG_RANK = "page-exchange", 1
LOAD: dict[str, Any] = {
    "requests": 16,
    "concurrency": 8,
    "input_tokens": 700,
    "output_tokens": 48,
}
NO_MULTICAST = {
    "NCCL_NVLS_ENABLE": "0",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1",
    "NVSHMEM_DISABLE_NVLS": "1",
}
MOST_US = 10.0
"""Of kernel time that the fingerprints of a decode step may take."""

FINGERPRINT_US = "fingerprint of a step, us"

Tell = Callable[[str], None]


def kernel_time() -> dict[str, float]:
    """Microseconds a step by torch's profiler: recordings of both index spaces, 64 rows of 8k.

    The same with and without the fingerprint, in turn; what differs is its price.
    """
    from triage.bench.device_cost import Watched

    calls = {
        name: _recordings(
            Watched(
                "cuda", rows=64, context=8192, contain=False, record=True, fingerprint=fingerprint
            )
        )
        for name, fingerprint in (("with", True), ("without", False))
    }
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(3):
        for name, step in calls.items():
            took[name].append(_kernel_us(step))
    best = {name: min(each) for name, each in took.items()}
    return {
        "recordings of a step, us": round(best["with"], 2),
        "without the fingerprint, us": round(best["without"], 2),
        FINGERPRINT_US: round(best["with"] - best["without"], 2),
    }


def _recordings(sizes: Any) -> Callable[[], None]:
    """The two recordings of a decode step."""

    def step() -> None:
        for space in ("full", "swa"):
            sizes.recorder.record(
                space,
                sizes.tables[space],
                sizes.lengths,
                window_left=sizes.window(space),
                req_pool_indices=sizes.owners,
            )

    return step


def _kernel_us(step: Callable[[], None], rounds: int = 50) -> float:
    """Kernel time of one `step` in microseconds, by torch's profiler."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    for _ in range(5):
        step()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(rounds):
            step()
        torch.cuda.synchronize()
    ours = [each for each in profiled.key_averages() if "record_kernel" in each.key]
    if sum(each.count for each in ours) != 2 * rounds:
        raise LabError(f"the profiler saw {[each.key for each in ours]}, not two launches a step")
    return float(sum(each.device_time_total for each in ours)) / rounds


def play(
    server: Any,
    dumps: Path,
    control: Path,
    give_load: Callable[[], object],
    tell: Tell,
    *,
    ranks: int,
    wait_s: float = 60.0,
    found: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The sound part and the wrong part on a server that is healthy; what came of them.

    server: has `alive`, `pids` and `log()`. give_load: plays it; may raise once the server ends.
    found: filled as it comes, so that it is kept where a part raises.
    """
    found = {} if found is None else found
    held: dict[str, bool] = found.setdefault("held", {})
    give_load()
    armed = [pid for pid in server.pids if is_armed(pid, dumps)]
    tell(f"{len(armed)} ranks are armed")
    held["every rank is armed"] = len(armed) == ranks
    if not armed:
        raise LabError(f"no process of the server listens beside {dumps}: its log says why")
    try:
        taken = snap(parent_of(armed[0]) or armed[0], dumps, 20.0)
    except SnapError as error:
        taken = ()
        tell(str(error))
    sound = merge(taken) if taken else None
    if sound is not None:
        _say(sound, tell)
        found["sound"] = sound.as_dict()
    held["sound ranks agree"] = sound is not None and sound.exit_code == 0
    held["sound, every rank"] = len(taken) == ranks
    control.touch()
    tell(f"rank {WRONG_RANK} goes wrong")
    _load_until_it_fell(server, give_load, wait_s)
    time.sleep(min(GRACE_S / 4, wait_s))  # the launcher ends the ranks that are left
    wrong = merge([dumps])
    _say(wrong, tell)
    found["wrong"] = wrong.as_dict()
    alarms = [
        (place.tp, dump.step)
        for group in wrong.groups
        for place, of in group.dumps.items()
        for dump in of
        if dump.alarm
    ]
    diverged = next((g.compared.divergence for g in wrong.groups if g.compared.divergence), None)
    found["alarms"] = alarms
    held["the alarm came from the wrong rank"] = {rank for rank, _ in alarms} == {WRONG_RANK}
    held["merge names the rank"] = diverged is not None and (
        [place.tp for place in diverged.wrong] == [WRONG_RANK]
    )
    held["merge names the alarm's step"] = diverged is not None and (
        diverged.step in [step for _, step in alarms]
    )
    return found


def _load_until_it_fell(server: Any, give_load: Callable[[], object], wait_s: float) -> None:
    over = threading.Event()

    def again() -> None:
        try:
            give_load()
        except Exception:  # the server is expected to end under it
            pass
        finally:
            over.set()

    threading.Thread(target=again, daemon=True).start()
    end, grace = time.monotonic() + wait_s, GRACE_S / 2
    while time.monotonic() < end and server.alive and not server_log.child_failed(server.log()):
        if over.is_set():  # the alarm comes with the step's result, a little later
            grace -= 0.25
            if grace < 0:
                return
        time.sleep(0.25)


def _say(merged: Merged, tell: Tell) -> None:
    for line in merged.lines():
        tell(f"  {line}" if line else "")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/gpu-ranks"))
@click.option("--work", type=click.Path(path_type=Path), help="The server's; a temp folder.")
@click.option("--budget-s", type=float, default=150.0, show_default=True)
@click.option("--tp", type=click.IntRange(2, 8), default=2, show_default=True)
@click.option("--port", type=int, default=12_000, show_default=True)
@click.option("--caches", type=click.Path(path_type=Path), help="Compile caches to start with.")
def main(
    out: Path, work: Path | None, budget_s: float, tp: int, port: int, caches: Path | None
) -> None:
    """Play it once."""
    began = time.monotonic()

    def tell(sentence: str) -> None:
        click.echo(f"[{time.monotonic() - began:5.0f} s] {sentence}")

    try:
        here = machine.examine()
        gpus = machine.gpus()
        if gpus < tp:
            raise machine.CannotServe(f"{gpus} GPUs are visible, --tp {tp} needs as many")
    except machine.CannotServe as error:
        click.echo(f"gpu ranks: {error}", err=True)
        raise SystemExit(3) from error
    out = out.resolve()
    work = (work or Path(tempfile.mkdtemp(prefix="gpu-ranks-"))).resolve()
    out.mkdir(parents=True, exist_ok=True)
    caches = caches or bundled_caches()
    if caches is not None and caches.exists():
        tell(f"compile caches: {archive.unpack_caches(caches, Path.home())} files restored")
    limit = flags.head_dim_limit(here.gpu.capability, "trtllm_mha", here.flashinfer)
    model = shapes.write_model(work / "target", SHAPE, small=True, head_dim_limit=limit)
    dumps, control = out / "dumps", work / "control"
    job = Job(
        "ranks",
        "tensor-parallel ranks, one of which goes wrong",
        (),
        mtp=False,
        flags=("--tp", str(tp), "--disable-custom-all-reduce"),
    )
    server = Server(
        model,
        port_of(port, 0),
        out / "server.log",
        env={
            **NO_MULTICAST,
            "SGLANG_TRTLLM_MHA_DEBUG": "1",
            "SGLANG_TRTLLM_MHA_DEBUG_DIR": str(dumps),
        },
        flags=server_flags(job, here, Path()),
        plugin_paths=[
            defects.plugin(DEFECT, work / "plugins", control=control, rank=WRONG_RANK),
            *product_plugin(work),
        ],
    )
    record: dict[str, Any] = {"machine": {**described(here), "gpus": gpus}, "held": {}}
    tell(json.dumps(record["machine"]))
    beside: dict[str, Any] = {}
    profiler = threading.Thread(target=_profiled, args=(beside,), daemon=True)
    profiler.start()

    def give_load() -> None:
        load.plain(server.port, vocab_size=VOCAB, alive=lambda: bool(server.alive), **LOAD)

    try:
        with server:
            seconds = server.start(timeout_s=max(budget_s - 30.0, 30.0))
            tell(f"healthy after {seconds:.0f} s")
            record["start_s"] = round(seconds, 1)
            left = budget_s - (time.monotonic() - began)
            wait_s = max(left - 20, 10)
            play(server, dumps, control, give_load, tell, ranks=tp, wait_s=wait_s, found=record)
            record["death"] = str(server.death_reason())[:600]
    except Exception as error:  # what was measured until then is kept
        record["error"] = f"{type(error).__name__}: {error}"[:2000]
        tell(record["error"])
    profiler.join(20.0)
    record["kernel"] = beside
    took = beside.get(FINGERPRINT_US)
    record["held"][f"fingerprint under {MOST_US:.0f} us a step"] = (
        took is not None and took < MOST_US
    )
    record["spent_s"] = round(time.monotonic() - began, 1)
    (out / "ranks.json").write_text(json.dumps(record, indent=1) + "\n")
    if work != out:
        shutil.rmtree(work / "target", ignore_errors=True)
    tell(f"kernel: {json.dumps(beside)}")
    for what, whether in record["held"].items():
        tell(f"{'held' if whether else 'DID NOT HOLD'}: {what}")
    tell(f"written: {out / 'ranks.json'}")
    good = "error" not in record and len(record["held"]) > 1 and all(record["held"].values())
    raise SystemExit(0 if good else 1)


def _profiled(into: dict[str, Any]) -> None:
    try:
        into.update(kernel_time())
    except Exception as error:  # the server's part does not wait for it
        into["error"] = f"{type(error).__name__}: {error}"[:600]


if __name__ == "__main__":
    main()
