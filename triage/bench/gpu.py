"""`make gpu`: everything only a GPU can show, in order of worth, kept at every step.

Each step is a command with a time limit whose results lie in the output
folder. What is done is noted there, so a run that was cut off goes on where it
stopped. A step that cannot run says so and does not stop the others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ("e4b_out_of_range", "e4b_stale_swa_state", "smoke_stale_swa_state")
PROBED = ("xqa", "fa2", "fa3")


@dataclass(frozen=True, slots=True)
class Step:
    """One command. `worth` orders; a step that resumes may be run again until it says done."""

    name: str
    command: tuple[str, ...]
    limit_s: float
    resumes: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    exit_code: int
    seconds: float
    done: bool


def steps(out: Path) -> list[Step]:
    python, triage = (sys.executable, "-m"), (sys.executable, "-m", "triage")
    validate = ("kernels", "validate", "--device", "cuda", "--provider", "ours")
    bench = ("kernels", "bench", "--plot", f"{out}/bench.png", "--table", f"{out}/bench.md")
    found = [
        Step(
            "pytest", (*python, "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests"), 400
        ),
        Step(
            "validate",
            (*triage, *validate, "--output", f"{out}/validate.jsonl", "--budget-seconds", "150"),
            180,
            resumes=True,
        ),
        Step(
            "bench",
            (*triage, *bench, "--output", f"{out}/bench.jsonl", "--budget-seconds", "330"),
            360,
            resumes=True,
        ),
        Step("trap-cost", (*python, "triage.bench.device_cost"), 120),
        Step("tma-band", (*python, "triage.tma_band", "--json", f"{out}/tma_band.json"), 180),
    ]
    for name in GOLDEN:
        replay = ("replay", f"dumps/{name}.msgpack", "--kernel", "all", "--json")
        found.append(Step(f"replay-{name}", (*triage, *replay), 240))
    for kernel in PROBED:
        probe = ("probe", "--kernel", kernel, "-o", f"{out}/probe_{kernel}.json")
        found.append(Step(f"probe-{kernel}", (*triage, *probe), 420))
    return found


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/gpu"), show_default=True)
@click.option("--budget-seconds", type=float, default=560.0, show_default=True)
@click.argument("only", nargs=-1)
def main(out: Path, budget_seconds: float, only: tuple[str, ...]) -> None:
    """Run what is not done yet, as far as the budget goes; run again to go on."""
    out.mkdir(parents=True, exist_ok=True)
    state = out / "state.json"
    done: dict[str, dict[str, object]] = json.loads(state.read_text()) if state.exists() else {}
    started = time.monotonic()
    for step in steps(out.resolve()):
        if (only and step.name not in only) or done.get(step.name, {}).get("done"):
            continue
        left = budget_seconds - (time.monotonic() - started)
        if left < 20:
            click.echo(f"budget spent before {step.name}; run again to go on")
            break
        outcome = run(step, out, min(step.limit_s, left))
        done[step.name] = asdict(outcome)
        state.write_text(json.dumps(done, indent=1))
        click.echo(f"{step.name:28} exit {outcome.exit_code:4} {outcome.seconds:6.1f} s", nl=True)


def run(step: Step, out: Path, limit_s: float) -> Outcome:
    """Run one step, its output in `NAME.log`. Cut off, it is done unless it resumes."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    started = time.monotonic()
    with (out / f"{step.name}.log").open("ab") as log:
        try:
            done = subprocess.run(
                step.command, stdout=log, stderr=log, cwd=ROOT, env=environment, timeout=limit_s
            )
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = 124
    seconds = round(time.monotonic() - started, 1)
    finished = code != 124 and (not step.resumes or seconds < step.limit_s - 30)
    return Outcome(step.name, code, seconds, finished or (code == 124 and not step.resumes))


if __name__ == "__main__":
    main()
