"""`triage lab serve` as a library: from a shape to a result, and nothing left running.

    plan      what will be served, with which flags and variables, each with its reason
    serve     model, plugins, server, load, dumps, explanation, stop

What was asked for is a `Wish`, what will be done a `ServerPlan`, what came of it a `Served`.

Long because what was asked for, planned and served are steps of one run.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from triage import config
from triage.errors import LabError, did_you_mean
from triage.lab.server import flags, load, plugin_folder, server_log, shapes, workload
from triage.lab.server.flags import Flag
from triage.lab.server.machine import CannotServe, Machine, need_memory
from triage.lab.server.process import Server, ServerDied, ServerNotHealthy
from triage.lab.server.result import Served, explained
from triage.lab.server.server_log import activity

LOG, ANSWERS = "server.log", "answers.jsonl"
"""Of the folder that `Wish.directory` names."""

OFF, DEFAULT = "off", "default"
MODES = (DEFAULT, OFF, *config.MODES)
LOADS = ("plain", "mixed", "none")
REQUESTS = {"plain": 96, "mixed": 500}
CONCURRENCY = {"plain": 32, "mixed": 48}
PLAIN_INPUT, PLAIN_OUTPUT = 1024, 256
SAID_EVERY_S = 15.0

SETTLE_S = 2.0
"""After the last answer: time for a server to judge its last step, and to end of it."""

SPARE_BYTES = 5 * 2**30
"""Beside weights and KV pools: CUDA graphs, FlashInfer's workspace, the CUDA context."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be served and played.

    mode: "default" arms the traps by SGLANG_TRTLLM_MHA_DEBUG=1 alone, "off" not at all.
    given: server flags of the user's own; they win over ours.
    without: names of flags of ours that the server is not to be given.
    weights, draft_weights: folders of real checkpoints, served as they are in the place of
        the model made of `shape` and of its assistant; None to make them.
    requests, concurrency: None for the load's own.
    """

    shape: str
    directory: Path
    small: bool = False
    mtp: bool = False
    attention: str = "trtllm_mha"
    defect: str | None = None
    mode: str = DEFAULT
    fixes: tuple[str, ...] = ()
    load: str = "plain"
    requests: int | None = None
    concurrency: int | None = None
    seed: int = 0
    port: int = 30000
    timeout_s: float = 600
    given: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    weights: Path | None = None
    draft_weights: Path | None = None


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What `serve` will do. `dimensions` are those served, `notes` what differs from the wish."""

    wish: Wish
    machine: Machine
    dimensions: shapes.Shape
    head_dim_limit: int | None
    chosen: tuple[Flag, ...]
    dropped: tuple[Flag, ...]
    environment: dict[str, str | None]
    notes: tuple[str, ...] = field(default=())

    @property
    def model(self) -> Path:
        return self.wish.weights or self.wish.directory / "target"

    @property
    def draft(self) -> Path:
        return self.wish.draft_weights or self.wish.directory / "assistant"

    @property
    def dumps(self) -> Path:
        return self.wish.directory / "dumps"

    @property
    def server_flags(self) -> list[str]:
        return flags.command_line(self.chosen, self.wish.given)

    def sentences(self) -> list[str]:
        """The plan in lines: the shape and what differs, each flag and why."""
        gpu, wish = self.machine.gpu, self.wish
        size = "small" if wish.small else "true size"
        size = f"weights of {wish.weights}" if wish.weights else size
        lines = [
            f"{self.dimensions.name} ({size}) on {gpu.name} ({gpu.arch}), "
            f"SGLang {self.machine.sglang}"
        ]
        lines += [f"  note: {note}" for note in self.notes]
        kept = [flag for flag in self.chosen if flag not in self.dropped]
        width = max((len(" ".join(flag.words())) for flag in kept), default=0)
        width = min(width, 46)
        lines += [f"  {' '.join(flag.words()):{width}}  {flag.why}" for flag in kept]
        if wish.given:
            lines.append(f"  {' '.join(wish.given)}  (given)")
        lines += [f"  left out, given instead: {' '.join(flag.words())}" for flag in self.dropped]
        lines += [f"  left out, as asked: {name}" for name in wish.without]
        variables = [f"{name}={value}" for name, value in self.environment.items() if value]
        lines.append(f"  environment: {' '.join(variables) or 'no variable of ours'}")
        return lines


def plan(wish: Wish, machine: Machine) -> ServerPlan:
    """Decide everything that can be decided before anything is written or started.

    Raises LabError for an unknown shape, defect, fix, mode or load, for a flag to leave out that
    is none of ours, and CannotServe where the GPU has too little free memory.
    """
    for what, value, known in (("mode", wish.mode, MODES), ("load", wish.load, LOADS)):
        if value not in known:
            raise LabError(
                f"no {what} {value!r}{did_you_mean(value, known)}; known: {', '.join(known)}"
            )
    if wish.fixes:
        _known_fixes(wish.fixes)
    if wish.defect:
        _known_defect(wish.defect)
    _check_weights(wish)
    capability = machine.gpu.capability
    limit = flags.head_dim_limit(capability, wish.attention, machine.flashinfer)
    dimensions = shapes.limited(shapes.find(wish.shape), limit)
    if wish.small:
        dimensions = shapes.shrunk(dimensions)
    chosen = flags.choose(
        capability,
        mtp=wish.mtp,
        draft_path=wish.draft_weights or wish.directory / "assistant",
        attention=wish.attention,
        small=wish.small,
        sglang=machine.sglang,
    )
    if wish.weights:
        chosen = [flag for flag in chosen if flag.name != "--load-format"]
    chosen = flags.without(chosen, wish.without)
    pools = shapes.pool_bytes(dimensions, flags.TOTAL_TOKENS, flags.SWA_RATIO)
    need_memory(machine.gpu, _weight_bytes(wish, dimensions) + pools + SPARE_BYTES)
    return ServerPlan(
        wish,
        machine,
        dimensions,
        limit,
        tuple(chosen),
        tuple(flags.replaced(chosen, wish.given)),
        _environment(wish),
        ()
        if wish.weights
        else tuple(shapes.notes(wish.shape, assistant=wish.mtp, head_dim_limit=limit)),
    )


def serve(
    plan: ServerPlan,
    say: Say = lambda line: None,
    progress: Callable[[int, int], None] | None = None,
    *,
    python: str = sys.executable,
) -> Served:
    """Serve and play; the server is stopped when this returns or raises.

    say: called with a line at each step.
    progress: (requests done, requests) of the load.
    python: the interpreter that has SGLang; this one by default.
    Raises LabError where the directory holds an earlier run, PortInUse (nothing was started)
    and CannotServe (it cannot be written, or SGLang ended before it was healthy, for another
    reason than a trap or a fault). KeyboardInterrupt leaves with the
    server stopped and the answers so far in `ANSWERS`; see `partial`.
    """
    wish = plan.wish
    if (wish.directory / LOG).exists() or any(plan.dumps.glob("*")):
        raise LabError(f"{wish.directory} holds an earlier run; give a new one: --dir")
    try:
        write_models(plan)
    except OSError as error:
        raise CannotServe(f"{wish.directory} cannot be written: {error.strerror}") from error
    server = Server(
        plan.model,
        wish.port,
        wish.directory / LOG,
        plan.environment,
        plan.server_flags,
        plugins(plan),
        python=python,
    )
    startup_s, played, death = None, None, ""
    with server:
        try:
            say(f"starting; its log is {server.log_path}")
            startup_s = server.start(wish.timeout_s, _patience(server, say))
            say(f"healthy after {startup_s:.0f} s")
            played = _play(plan, server, say, progress)
            if server.wait_dead(SETTLE_S):
                death = server.death_reason()
        except ServerDied as error:
            death = server.death_reason()
            say(str(error))
        except ServerNotHealthy as error:
            raise CannotServe(str(error)) from error
        # Before it is stopped: what a server says while it ends is no finding.
        served = _served(plan, server, startup_s, played, death)
    if startup_s is None and served.outcome == "died":
        raise CannotServe(f"the server ended before it was healthy: {death} ({server.log_path})")
    return served


def _patience(server: Server, say: Say) -> Callable[[float], None]:
    """Says every SAID_EVERY_S seconds how long the server has started, and its last line."""
    said = SAID_EVERY_S

    def progress(waited: float) -> None:
        nonlocal said
        if waited >= said:
            said = waited + SAID_EVERY_S
            say(f"  {waited:.0f} s: {server_log.last_said(server.log())[:160]}")

    return progress


def partial(plan: ServerPlan) -> Served:
    """What an interrupted `serve` left: the answers and dumps so far."""
    played = None
    with suppress(OSError, LabError):
        played = load.read(plan.wish.directory / ANSWERS)
    server = Server(plan.model, plan.wish.port, plan.wish.directory / LOG)
    return _served(plan, server, None, played, "", interrupted=True)


def write_models(plan: ServerPlan) -> None:
    """Write the target and, with MTP, its assistant; nothing where weights are given."""
    wish = plan.wish
    if wish.weights:
        return
    for directory, assistant in ((plan.model, False), (plan.draft, True)):
        if wish.mtp or not assistant:
            shapes.write_model(
                directory,
                wish.shape,
                small=wish.small,
                assistant=assistant,
                head_dim_limit=plan.head_dim_limit,
            )


def plugins(plan: ServerPlan) -> list[Path]:
    """Plugin folders for the server's path: the defect, and ours where it is not installed."""
    folders = []
    directory = plan.wish.directory / "plugins"
    if plan.wish.defect:
        from triage.lab.server import defects

        folders.append(defects.plugin(plan.wish.defect, directory))
    installed = importlib.metadata.entry_points(group=plugin_folder.GROUP)
    if not any(point.name == "sglang_triage" for point in installed):
        # A checkout on PYTHONPATH has no metadata that SGLang could find.
        folders.append(plugin_folder.write(directory, "triage", "triage.plugin:register"))
    return folders


def _play(
    plan: ServerPlan,
    server: Server,
    say: Say,
    progress: Callable[[int, int], None] | None,
) -> load.LoadResult | None:
    wish = plan.wish
    if wish.load == "none":
        say(f"serving on http://127.0.0.1:{wish.port} until Ctrl-C")
        while not server.wait_dead(3600):
            pass
        return None
    asked = _asked(plan)
    return load.play(
        wish.load,
        asked,
        wish.port,
        wish.concurrency or CONCURRENCY[wish.load],
        wish.directory / ANSWERS,
        lambda: server.alive,
        progress,
    )


def _asked(plan: ServerPlan) -> list[workload.Asked]:
    """The load's requests; token ids of the smallest vocabulary, the same for every shape."""
    wish, vocab = plan.wish, min(plan.dimensions.vocab, shapes.SMALL_VOCAB)
    count = wish.requests or REQUESTS[wish.load]
    if wish.load == "plain":
        return workload.plain(count, PLAIN_INPUT, PLAIN_OUTPUT, wish.seed, vocab)
    return workload.mixed(
        count, wish.seed, vocab, page_size=flags.PAGE_SIZE, window=plan.dimensions.window
    )


def _served(
    plan: ServerPlan,
    server: Server,
    startup_s: float | None,
    played: load.LoadResult | None,
    death: str,
    *,
    interrupted: bool = False,
) -> Served:
    log = server.log()
    wish = plan.wish
    return Served(
        shape=plan.dimensions.name,
        small=wish.small,
        mtp=wish.mtp,
        defect=wish.defect,
        mode=wish.mode,
        fixes=wish.fixes,
        gpu=plan.machine.gpu.name,
        arch=plan.machine.gpu.arch,
        sglang=plan.machine.sglang,
        flashinfer=plan.machine.flashinfer,
        server_flags=tuple(plan.server_flags),
        notes=plan.notes,
        startup_s=startup_s,
        load=played,
        activity=activity(log, _chunk_tokens(plan)),
        death=death,
        log_path=server.log_path,
        log=log,
        dumps=tuple(explained(path) for path in _in_order(plan.dumps)),
        interrupted=interrupted,
    )


def _chunk_tokens(plan: ServerPlan) -> int:
    given = dict(zip(plan.server_flags, plan.server_flags[1:], strict=False))
    return int(given.get("--chunked-prefill-size", flags.CHUNKED_PREFILL))


def _in_order(directory: Path) -> Sequence[Path]:
    """Dumps by age: the first one was first wrong."""
    return sorted(directory.glob("*.msgpack"), key=lambda path: path.stat().st_mtime)


def _environment(wish: Wish) -> dict[str, str | None]:
    """Ours are set or removed, whatever the shell has; CHECKS and the limits stay the user's."""
    variables: dict[str, str | None] = {
        config.DEBUG: None,
        config.MODE: None,
        config.FIXES: ",".join(wish.fixes) or None,
    }
    if wish.mode != OFF:
        variables[config.DEBUG] = "1"
        variables[config.DIRECTORY] = str(wish.directory / "dumps")
        if wish.mode != DEFAULT:
            variables[config.MODE] = wish.mode
    return variables


def _check_weights(wish: Wish) -> None:
    """Raise LabError unless the given checkpoints are there, one for each model served."""
    if wish.weights is None:
        if wish.draft_weights is not None:
            raise LabError("--draft-weights without --weights: both are real, or both are made")
        return
    if wish.small:
        raise LabError("--small makes a model; weights are served as they are, leave it out")
    if wish.mtp and wish.draft_weights is None:
        raise LabError("--mtp with --weights needs the assistant's: --draft-weights PATH")
    for folder in (wish.weights, *((wish.draft_weights,) if wish.draft_weights else ())):
        if not (folder / "config.json").is_file():
            raise LabError(f"{folder} holds no config.json, so it is no checkpoint to serve")


def _weight_bytes(wish: Wish, dimensions: shapes.Shape) -> int:
    """Of the target: the files of a real checkpoint, two bytes a parameter of a made one."""
    if wish.weights is None:
        return 2 * shapes.parameters(dimensions)
    return sum(file.stat().st_size for file in wish.weights.glob("*.safetensors"))


def _known_fixes(names: Sequence[str]) -> None:
    from triage.sglang.fixes import AUTO, FIXES

    for name in names:
        if name not in (*FIXES, AUTO):
            raise LabError(
                f"no fix {name!r}{did_you_mean(name, FIXES)}; known: {', '.join(FIXES)}, {AUTO}"
            )


def _known_defect(name: str) -> None:
    from triage.lab.server.defects import DEFECTS

    if name not in DEFECTS:
        meant = did_you_mean(name, DEFECTS)
        raise LabError(f"no defect {name!r} for a server{meant}; known: {', '.join(DEFECTS)}")
