"""`make gpu-smoke`: real servers on a real GPU, in under ten minutes; `make b200` is the same.

Every cell is kept the moment it is known (`results.jsonl` in the output folder), a later run
goes on from there, and what fails leaves its reason and does not stop the others. At the end
there are `summary.json`, `evidence.tar.xz` (logs, dumps, oracle, address maps) and, to make
the next run's servers start faster, `caches.tar.xz`.

Exit code 0 when everything was played and held, 1 when something did not hold, 3 when there
is no GPU or SGLang, or another run is needed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from triage.lab.server import flags, laguna, machine, plugin_folder, shapes, story
from triage.lab.server.bundle import CACHES
from triage.lab.server.smoke import archive
from triage.lab.server.smoke.jobs import JOBS
from triage.lab.server.smoke.play import CLOSING_S, play, stop_all
from triage.lab.server.smoke.results import Cell, Clock, Results
from triage.lab.server.smoke.rig import Job, Rig
from triage.lab.server.smoke.summary import summarise

SHAPE = "E4B"
FIRST_PORT, APART = 10_000, 1_500  # SGLang takes further ports up to a thousand above its own
HIGHEST_PORT = 64_000
DOCTOR_S = {"with SGLang": 8.0, "without SGLang": 3.0}


def port_of(first: int, index: int) -> int:
    """Of the job `index`: apart from the others', and from the first on while there is room."""
    return first if index == 0 else 1024 + (first - 1024 + APART * index) % (HIGHEST_PORT - 1024)


def described(here: machine.Machine) -> dict[str, Any]:
    """The machine and its versions as JSON values."""
    packages = ("torch", "triton", "transformers", "sglang-kernel")
    return {
        "gpu": here.gpu.name,
        "arch": here.gpu.arch,
        "memory_gib": round(here.gpu.total / 2**30, 1),
        "python": sys.version.split()[0],
        "sglang": here.sglang,
        "flashinfer": here.flashinfer,
        **{name: version(name) for name in packages},
    }


def models(directory: Path, here: machine.Machine) -> dict[str, tuple[Path, Path]]:
    """Targets and assistants of the jobs, by `Job.model`."""
    limit = flags.head_dim_limit(here.gpu.capability, "trtllm_mha", here.flashinfer)
    small = directory / "small"
    return {
        "small": (
            shapes.write_model(small / "target", SHAPE, small=True, head_dim_limit=limit),
            shapes.write_model(
                small / "assistant", SHAPE, small=True, assistant=True, head_dim_limit=limit
            ),
        ),
        "dummy": (
            shapes.write_model(
                directory / "dummy" / "target",
                shapes.shrunk(shapes.find(SHAPE)),
                small=False,
                head_dim_limit=limit,
            ),
            Path(),
        ),
        "story": story.write_models(directory / "story"),
        "laguna": (laguna.write_model(directory / "laguna"), Path()),
    }


def product_plugin(directory: Path) -> list[Path]:
    """A folder with our entry point where none is installed; SGLang finds plugins that way only."""
    installed = importlib.metadata.entry_points(group=plugin_folder.GROUP)
    if any(point.name == "sglang_triage" for point in installed):
        return []
    information = directory / "product" / "sglang_triage-0.dist-info"
    information.mkdir(parents=True, exist_ok=True)
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: sglang-triage\nVersion: 0\n"
    )
    (information / "entry_points.txt").write_text(
        f"[{plugin_folder.GROUP}]\nsglang_triage = triage.plugin:register\n"
    )
    return [information.parent]


def server_flags(job: Job, here: machine.Machine, draft: Path) -> list[str]:
    chosen = flags.choose(
        here.gpu.capability,
        mtp=job.mtp,
        draft_path=draft if job.mtp else "",
        attention=flags.FLASHINFER if job.model == "laguna" else "trtllm_mha",
        small=job.model in ("small", "laguna"),
        sglang=here.sglang,
    )
    given = {"story": story.FLAGS, "dummy": ("--mem-fraction-static", "0.3")}
    return flags.command_line(chosen, [*given.get(job.model, ()), *job.flags])


def bundled_caches() -> Path | None:
    """`caches.tar.xz` beside the folder that SGLang was unpacked to, where it came in a bundle."""
    found = importlib.util.find_spec("sglang")
    if found is None or not found.submodule_search_locations:
        return None
    beside = Path(next(iter(found.submodule_search_locations))).parents[1] / CACHES
    return beside if beside.exists() else None


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def ask_doctor(results: Results, product: Sequence[Path]) -> None:
    """How long `triage doctor` takes, with and without SGLang on the path.

    product: folders in which SGLang finds our entry point, as the servers get them.
    The first call reads everything from a disk that may be cold; the second is judged.
    """
    parts = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    without = [part for part in parts if not (Path(part) / "sglang").is_dir()]
    for name, paths in (("with SGLang", parts), ("without SGLang", without)):
        if results.done("doctor", name):
            continue
        path = os.pathsep.join([*map(str, product), *paths])
        environment = {**os.environ, "PYTHONPATH": path}
        first, _, _ = timed(["-m", "triage", "doctor"], environment)
        seconds, code, said = timed(["-m", "triage", "doctor"], environment)
        lines = said.splitlines()
        held = code >= 0 and seconds <= DOCTOR_S[name] and 0 < len(lines) <= 40
        why = "" if held else f"exit {code}, {seconds} s, {len(lines)} lines; {said[-1500:]}"
        figures = {"seconds": seconds, "first_seconds": first, "exit": code, "lines": lines[:45]}
        results.add(Cell("doctor", name, held, why, first + seconds, figures))


def timed(arguments: list[str], environment: dict[str, str]) -> tuple[float, int, str]:
    """Seconds, exit code (-1: cut off after 60 s) and what a call of this Python printed."""
    began, code = time.monotonic(), -1
    try:
        ended = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        code, said = ended.returncode, ended.stdout or ended.stderr
    except subprocess.TimeoutExpired:
        said = "took more than 60 s"
    return round(time.monotonic() - began, 2), code, said


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/gpu-smoke"))
@click.option("--work", type=click.Path(path_type=Path), help="Servers' folders; in a temp folder.")
@click.option("--budget-s", type=float, default=560.0, show_default=True)
@click.option("--servers", type=click.IntRange(1, 8), default=4, show_default=True)
@click.option("--caches", type=click.Path(path_type=Path), help="Compile caches to start with.")
@click.option("--port", type=int, default=FIRST_PORT, show_default=True, help="Of the first.")
@click.option("--only", multiple=True, help="A job's name; several allowed.")
@click.option("--retry", is_flag=True, help="Play again what did not hold in an earlier run.")
@click.option("--all-in-one", is_flag=True, help="One archive of everything, to send back.")
def main(
    out: Path,
    work: Path | None,
    budget_s: float,
    servers: int,
    caches: Path | None,
    port: int,
    only: tuple[str, ...],
    retry: bool,
    all_in_one: bool,
) -> None:
    """Play the smoke of this GPU, or what of it is not done yet."""
    clock = Clock(budget_s - CLOSING_S)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: clock.stopped.set())
    try:
        here = machine.examine()
    except machine.CannotServe as error:
        click.echo(f"gpu smoke: {error}", err=True)
        raise SystemExit(3) from error
    record_of = described(here)
    out, work = out.resolve(), (work or Path(tempfile.gettempdir()) / "gpu-smoke").resolve()
    for folder in (out, work):
        folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    def tell(sentence: str) -> None:
        click.echo(f"[{time.monotonic() - started:5.0f} s] {sentence}")

    tell(json.dumps(record_of))
    kept = work / "results.jsonl"
    if kept.exists() and not (out / kept.name).exists():
        shutil.copy(kept, out)  # a new output folder on the same machine
    results = Results(out / kept.name, retry=retry)
    caches = caches or bundled_caches()
    if caches is not None and caches.exists():
        tell(f"compile caches: {archive.unpack_caches(caches, Path.home())} files restored")
    written = models(work / "models", here)
    product = product_plugin(work)
    record_of["plugin"] = "folder" if product else "installed"
    if not only or "doctor" in only:
        ask_doctor(results, product)
    rigs = [
        Rig(
            job,
            work / "jobs" / job.name,
            port_of(port, index),
            written[job.model][0],
            server_flags(job, here, written[job.model][1]),
            results,
            clock,
            product,
        )
        for index, job in enumerate(JOBS)
        if not only or job.name in only
    ]

    def keep() -> dict[str, Any]:
        record = summarise(
            results,
            work / "jobs",
            machine=record_of,
            budget_s=budget_s,
            spent_s=round(time.monotonic() - started, 1),
        )
        partial = out / "summary.partial"
        partial.write_text(json.dumps(record, indent=1) + "\n")
        partial.replace(out / "summary.json")
        if results.path.exists():
            shutil.copy(results.path, kept)
        return record

    try:
        play(rigs, clock, servers=servers, tell=tell, after=keep)
    finally:
        stop_all(rigs)
        record = keep()
        left_out = archive.pack_evidence(work / "jobs", out / "evidence.tar.xz")
        packed = archive.pack_caches(Path.home(), out / "caches.tar.xz")
        tell(f"packed; left out: {left_out or 'nothing'}; compile caches: {packed}")
    if all_in_one:
        bundle = out.with_suffix(".tar")
        subprocess.run(["tar", "cf", str(bundle), "-C", str(out.parent), out.name], check=True)
        tell(f"to send back: {bundle}")
    for kind in ("not held", "not played"):
        for key, why in record[kind].items():
            tell(f"{kind}: {key}: {why[:300]}")
    tell(f"written: {out / 'summary.json'}")
    raise SystemExit(3 if record["not played"] else 1 if record["not held"] else 0)


if __name__ == "__main__":
    main()
