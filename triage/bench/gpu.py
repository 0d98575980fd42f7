"""`make gpu`: everything only a GPU can show, in order of worth, kept at every step.

Each step is a command with a time limit; its output is `NAME.log` in the output folder
and what it writes as JSON or a plot lies beside. `state.json` says what is done and is
replaced as a whole, so a run that is cut off or killed at any point goes on where it
stopped: a step that had not ended is run again, one that resumes goes on within itself.
A step that cannot run says so and does not stop the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ("e4b_out_of_range", "e4b_stale_swa_state", "smoke_stale_swa_state")
PROBED = ("xqa", "fa2", "fa3")
BUDGET = "{budget}"  # in a command: the seconds after which it should stop by itself
MARGIN_S = 30.0  # between that and the limit at which it is ended
LEAST_S = 20.0
CUT_OFF = 124


@dataclass(frozen=True, slots=True)
class Step:
    """One command. With BUDGET among its words it resumes, and is run until it ends early."""

    name: str
    command: tuple[str, ...]
    limit_s: float

    @property
    def resumes(self) -> bool:
        return BUDGET in self.command


@dataclass(frozen=True, slots=True)
class StepResult:
    name: str
    exit_code: int
    seconds: float
    done: bool


def steps(out: Path) -> list[Step]:
    python, triage = (sys.executable, "-m"), (sys.executable, "-m", "triage")
    validate = ("kernels", "validate", "--device", "cuda", "--budget-seconds", BUDGET)
    bench = (
        "kernels",
        "bench",
        "--force",
        "--plot",
        f"{out}/bench.png",
        "--table",
        f"{out}/bench.md",
    )
    pytest = ("pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests")
    found = [
        Step("pytest", (*python, *pytest), 500),
        Step(
            "bench",
            (*triage, *bench, "--output", f"{out}/bench.jsonl", "--budget-seconds", BUDGET),
            540,
        ),
        Step("trap-cost", (*python, "triage.bench.device_cost"), 120),
        Step(
            "tma-band", (*python, "triage.replay.tma_band", "--json", f"{out}/tma_band.json"), 180
        ),
        Step("late-neighbours", (*triage, "kernels", "mutants", "--device", "cuda", "--json"), 120),
        Step(
            "dependent-launch",
            (
                *(*python, "triage.bench.dependent_launch"),
                *("--out", f"{out}/overlap.jsonl", "--budget-s", BUDGET),
            ),
            240,
        ),
    ]
    for kernel in PROBED:
        probe = ("probe", "--kernel", kernel, "--force", "-o", f"{out}/probe_{kernel}.json")
        found.append(Step(f"probe-{kernel}", (*triage, *probe), 480))
    for name in GOLDEN:
        # The first run of a kernel builds it: FA3 takes minutes.
        patience = ("--kernel", "all", "--json", "--timeout", "400")
        replay = ("replay", f"dumps/{name}.msgpack", *patience)
        found.append(Step(f"replay-{name}", (*triage, *replay), 480))
    for provider in ("ours", "sglang"):
        written = ("--provider", provider, "--output", f"{out}/validate_{provider}.jsonl")
        found.append(Step(f"validate-{provider}", (*triage, *validate, *written), 300))
    return found


def run_all(
    planned: Iterable[Step],
    out: Path,
    budget_s: float,
    only: tuple[str, ...] = (),
    tell: Callable[[str], None] = click.echo,
) -> bool:
    """Run what is not done yet, as far as the budget goes; whether all of it is done now."""
    out.mkdir(parents=True, exist_ok=True)
    state = out / "state.json"
    done: dict[str, dict[str, object]] = json.loads(state.read_text()) if state.exists() else {}
    started = time.monotonic()
    wanted = [step for step in planned if not only or step.name in only]
    for step in wanted:
        if done.get(step.name, {}).get("done"):
            continue
        left = budget_s - (time.monotonic() - started)
        if left < LEAST_S:
            tell(f"budget spent before {step.name}; run again to go on")
            break
        outcome = run(step, out, min(step.limit_s, left))
        done[step.name] = asdict(outcome)
        partial = state.with_suffix(".partial")
        partial.write_text(json.dumps(done, indent=1) + "\n")
        partial.replace(state)
        again = "" if outcome.done else "  not done"
        tell(f"{step.name:28} exit {outcome.exit_code:4} {outcome.seconds:6.1f} s{again}")
    return all(done.get(step.name, {}).get("done") for step in wanted)


def run(step: Step, out: Path, limit_s: float) -> StepResult:
    """Run one step, its output in `NAME.log`; it is ended with all it started.

    One that resumes is done when it ended before its own budget; another when it ended,
    or had its whole limit.
    """
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    own_s = max(1.0, limit_s - MARGIN_S)
    command = [f"{own_s:.0f}" if word == BUDGET else word for word in step.command]
    started = time.monotonic()
    with (out / f"{step.name}.log").open("ab") as log:
        child = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=ROOT, env=environment, start_new_session=True
        )
        try:
            code = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = CUT_OFF
        finally:
            with contextlib.suppress(ProcessLookupError):  # the group may be gone already
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    seconds = time.monotonic() - started
    if step.resumes:
        done = code != CUT_OFF and seconds < own_s
    else:
        done = code != CUT_OFF or limit_s >= step.limit_s
    return StepResult(step.name, code, round(seconds, 1), done)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/gpu"), show_default=True)
@click.option("--budget-seconds", type=float, default=560.0, show_default=True)
@click.argument("only", nargs=-1)
def main(out: Path, budget_seconds: float, only: tuple[str, ...]) -> None:
    """Run what is not done yet, as far as the budget goes; run again to go on.

    Exit code 0 when everything is done, 3 when another run is needed.
    """
    complete = run_all(steps(out.resolve()), out.resolve(), budget_seconds, only)
    click.echo(f"{'all done' if complete else 'not all done'}: {out}")
    raise SystemExit(0 if complete else 3)


if __name__ == "__main__":
    main()
