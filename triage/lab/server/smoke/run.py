"""One run of jobs on this machine: models, servers, cells, record, archives.

What `make gpu-smoke` and `make gpu-server` share. Every cell is kept the moment it is known
(`results.jsonl` in the output folder), a later run goes on from there, and what fails leaves its
reason and does not stop the others.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triage.lab.server import flags, laguna, machine, plugin_folder, shapes, story
from triage.lab.server.bundle import CACHES
from triage.lab.server.ports import HIGHEST_PORT
from triage.lab.server.smoke import archive
from triage.lab.server.smoke.job_server import Job
from triage.lab.server.smoke.play import CLOSING_S, play, stop_all
from triage.lab.server.smoke.results import Clock, Results
from triage.lab.server.smoke.rig import Rig

SHAPE = "E4B"
FIRST_PORT, APART = 10_000, 1_500  # SGLang takes further ports up to a thousand above its own
Record = Callable[[Results, Path, dict[str, Any]], dict[str, Any]]
"""Results, the jobs' folders and what stands beside them -> `summary.json`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a run is to go: where it writes, how long, how many servers at a time.

    work: the servers' own folders. only: names of jobs, all without one.
    caches: compile caches to start with. retry: what did not hold is played again.
    """

    out: Path
    work: Path
    budget_s: float
    servers: int
    port: int
    only: tuple[str, ...] = ()
    caches: Path | None = None
    retry: bool = False


class Run:
    """One run on the machine that is there. Raises CannotServe where it has no GPU or SGLang."""

    def __init__(self, wanted: Wanted) -> None:
        self.clock = Clock(wanted.budget_s - CLOSING_S)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.clock.stopped.set())
        self.here = machine.examine()
        self.machine = described(self.here)
        self.wanted = wanted
        self.started = time.monotonic()
        for folder in (wanted.out, wanted.work):
            folder.mkdir(parents=True, exist_ok=True)
        self.tell(json.dumps(self.machine))
        self.kept = wanted.work / "results.jsonl"
        if self.kept.exists() and not (wanted.out / self.kept.name).exists():
            shutil.copy(self.kept, wanted.out)  # a new output folder on the same machine
        self.results = Results(wanted.out / self.kept.name, retry=wanted.retry)
        caches = wanted.caches or bundled_caches()
        if caches is not None and caches.exists():
            restored = archive.unpack_caches(caches, Path.home())
            self.tell(f"compile caches: {restored} files restored")
        self.written = models(wanted.work / "models", self.here)
        self.product = product_plugin(wanted.work)
        self.machine["plugin"] = "folder" if self.product else "installed"

    def tell(self, sentence: str) -> None:
        print(f"[{time.monotonic() - self.started:5.0f} s] {sentence}", flush=True)

    @property
    def jobs(self) -> Path:
        return self.wanted.work / "jobs"

    def rigs(self, jobs: Sequence[Job]) -> list[Rig]:
        """A server for each job that is wanted."""
        return [
            Rig(
                job,
                self.jobs / job.name,
                port_of(self.wanted.port, index),
                self.written[job.model][0],
                server_flags(job, self.here, self.written[job.model][1]),
                self.results,
                self.clock,
                self.product,
            )
            for index, job in enumerate(jobs)
            if not self.wanted.only or job.name in self.wanted.only
        ]

    def play(
        self,
        jobs: Sequence[Job],
        record: Record,
        each: Callable[[Rig], object] = lambda rig: None,
    ) -> dict[str, Any]:
        """Play `jobs` and pack what they left; returns what stands in `summary.json`.

        each: called behind every job, its server stopped.
        """
        rigs, out = self.rigs(jobs), self.wanted.out

        def keep() -> dict[str, Any]:
            beside = {
                "machine": self.machine,
                "budget_s": self.wanted.budget_s,
                "spent_s": round(time.monotonic() - self.started, 1),
            }
            found = record(self.results, self.jobs, beside)
            partial = out / "summary.partial"
            partial.write_text(json.dumps(found, indent=1) + "\n")
            partial.replace(out / "summary.json")
            if self.results.path.exists():
                shutil.copy(self.results.path, self.kept)
            return found

        def after(rig: Rig) -> None:
            each(rig)
            keep()

        try:
            play(rigs, self.clock, servers=self.wanted.servers, tell=self.tell, after=after)
        finally:
            stop_all(rigs)
            found = keep()
            left_out = archive.pack_evidence(self.jobs, out / "evidence.tar.xz")
            packed = archive.pack_caches(Path.home(), out / "caches.tar.xz")
            self.tell(f"packed; left out: {left_out or 'nothing'}; compile caches: {packed}")
        return found

    def closed(self, found: dict[str, Any]) -> int:
        """Say what did not hold and what was not played; returns the exit code of that."""
        for kind in ("not held", "not played"):
            for key, why in found[kind].items():
                self.tell(f"{kind}: {key}: {why[:300]}")
        self.tell(f"written: {self.wanted.out / 'summary.json'}")
        return 3 if found["not played"] else 1 if found["not held"] else 0


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
        "dense": (
            shapes.write_model(directory / "dense", "31B", small=True, head_dim_limit=limit),
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
