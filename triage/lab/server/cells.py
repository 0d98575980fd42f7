"""The cells of `make gpu-server`: a release, an axis and a mode, one server each, by worth.

An axis is what a server is started with beside the smoke's flags; a mode is one of ours, or
"off", whose plain answers are what the other modes of its axis must give. The defect begins at
run time, so that one start serves the plain load, the mixed one and the defect. Where no draft
runs, two requests' pages change places in the target's table, with a draft in the draft's; releases
whose tables are built in another way are given row 0.

Combinations that SGLang itself cannot serve are cells too: what they hold is SGLang's own error.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from triage.lab.server.smoke.job_server import Job

RELEASES = ("0.5.14", "0.5.15.post1", "0.5.13.post1", "0.5.12.post1", "0.5.18", "0.5.23")
OFF, RAISE, CONTAIN, LOG = "off", "raise", "contain", "log"
REFUSED, FIXED, RELEASED = "refused", "fixed", "released"
"""In the place of a mode: what SGLang refuses; a defect with its fix; a release's own defect."""

MIXED = 500
_MIXED_WITH_LEDGER = 300  # with a draft, every check reads the device at each allocator call
_DEBUG = {"SGLANG_TRTLLM_MHA_DEBUG": "1"}
_EVERY_CHECK = {**_DEBUG, "SGLANG_TRTLLM_MHA_DEBUG_CHECKS": "all"}
_KEEP_PREFIX = ("0.5.12.post1", "0.5.13.post1", "0.5.14")
"""Their own defect (sgl-project/sglang#29352) is met by a mixed load, and told."""

_NO_ASSISTANT = ("0.5.12.post1",)
"""The transformers that it pins does not know the draft's architecture, gemma4_assistant.

Without rejected drafts its own stale-mapping cannot show either (docs/sglang-bugs.md), and ngram's
end at their first verification with pages above 1: the SWA pools cannot move tokens.
"""
_NO_PIECEWISE = ("0.5.12.post1",)
"""Its piecewise graphs are captured unasked and die where layers share keys and values."""

EXCHANGE, DRAFT, ROW_ZERO = "page-exchange", "draft-exchange", "row-zero"
CAUSES = {
    EXCHANGE: "exchanged-pages",
    DRAFT: "exchanged-pages",
    ROW_ZERO: "padding-row-given",
}


@dataclass(frozen=True, slots=True)
class Axis:
    """One way to start the server, with one of the smoke's models.

    compared: are greedy answers the same from run to run?
    """

    name: str
    why: str
    flags: tuple[str, ...] = ()
    mtp: bool = False
    compared: bool = True
    temperature: float = 0.0
    model: str = "small"


_FP8 = ("--kv-cache-dtype", "fp8_e4m3")
_NGRAM = (
    *("--speculative-algorithm", "NGRAM", "--speculative-num-draft-tokens", "4"),
    *("--speculative-ngram-max-bfs-breadth", "1", "--disable-cuda-graph"),
)  # one branch: SGLang takes no others with pages above 1
AXES = {
    axis.name: axis
    for axis in (
        Axis("target", "no draft: graphs, overlap, radix, pages of 64"),
        Axis("mtp", "frozen-KV MTP: graphs, overlap, radix, pages of 64", mtp=True),
        Axis("fp8", "an fp8 KV cache: another store and another kernel", _FP8, model="dense"),
        Axis("shared-fp8", "an fp8 KV cache where layers share keys and values", _FP8),
        Axis("mtp-fp8", "frozen-KV MTP over an fp8 KV cache", _FP8, mtp=True),
        Axis("page-32", "pages of 32", ("--page-size", "32")),
        Axis("page-16", "pages of 16", ("--page-size", "16")),
        Axis("no-radix", "no prefix cache", ("--disable-radix-cache",)),
        Axis("no-overlap", "no overlap scheduling", ("--disable-overlap-schedule",)),
        Axis("piecewise", "piecewise graphs where layers share keys and values"),
        Axis("eager", "no CUDA graphs", ("--disable-cuda-graph",)),
        Axis("sampled", "temperature 1: FlashInfer's samplers", compared=False, temperature=1.0),
        Axis("mtp-eager", "frozen-KV MTP without graphs", ("--disable-cuda-graph",), mtp=True),
        Axis("mtp-no-overlap", "frozen-KV MTP without overlap scheduling",
             ("--disable-overlap-schedule",), mtp=True),
        Axis("ngram", "ngram drafts without graphs: a draft that needs no model", _NGRAM),
        Axis("mtp-plainest", "frozen-KV MTP without overlap scheduling or a prefix cache",
             ("--disable-overlap-schedule", "--disable-radix-cache"), mtp=True),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServerCell:
    """One server. `job` plays it where `release` is installed."""

    release: str
    axis: Axis
    mode: str
    job: Job = field(repr=False)

    @property
    def like(self) -> str:
        """The job whose plain answers this one's must equal; "" where they are not compared."""
        compared = self.axis.compared and self.mode in (RAISE, CONTAIN, LOG)
        return name_of(self.release, self.axis.name, OFF) if compared else ""


def name_of(release: str, axis: str, mode: str) -> str:
    return f"{release}-{axis}-{mode}"


def defect_of(release: str, axis: Axis) -> str:
    """What is planted at run time: it must be one that this release's tables can have.

    0.5.14 alone fills a graph's tables by the method behind which pages are exchanged: those before
    have none, those after fill them by a kernel inside the graph.
    """
    if release != "0.5.14":
        return ROW_ZERO
    return DRAFT if axis.mtp else EXCHANGE


def environment(release: str, axis: Axis, mode: str) -> dict[str, str]:
    """The variables of sglang-triage; none where the mode is off."""
    if mode in (OFF, REFUSED):
        return {}
    env = dict(_DEBUG) if mode == RAISE else {**_DEBUG, "SGLANG_TRTLLM_MHA_DEBUG_MODE": mode}
    if release in _KEEP_PREFIX and not axis.mtp:
        env["SGLANG_TRIAGE_FIXES"] = "keep-locked-prefix"
    return env


def flags_of(release: str, axis: Axis) -> tuple[str, ...]:
    """What the axis adds to the server's flags, and what the release needs to start at all."""
    if release in _NO_PIECEWISE and axis.name != "piecewise":
        return ("--disable-piecewise-cuda-graph", *axis.flags)
    return axis.flags


def least_s(axis: Axis, mode: str) -> float:
    """What a cell takes with six others beside it; without graphs every launch is judged."""
    if mode not in (RAISE, CONTAIN, LOG):
        return 95.0
    return 210.0 if axis.name == "eager" and mode == RAISE else 140.0


def cell(release: str, axis_name: str, mode: str) -> ServerCell:
    """The cell of a release, an axis and a mode (off, raise, contain, log, refused)."""
    axis = AXES[axis_name]
    defect = defect_of(release, axis)
    if mode == REFUSED:
        parts: tuple[str, ...] = ("refused",)
    elif mode == OFF:
        parts = ("plain",)
    else:
        told = "logged" if mode == LOG else "alarm"
        parts = ("plain", f"mixed:{MIXED}", f"{told}:{CAUSES[defect]}")
    if axis.temperature and mode != OFF:
        parts = ("warm", *parts)
    on = mode in (RAISE, CONTAIN, LOG)
    job = Job(
        name_of(release, axis_name, mode),
        f"{axis.why}; mode {mode}",
        parts,
        env=environment(release, axis, mode),
        defects={defect: False} if on else {},
        observers=("oracle",) if on else (),
        model=axis.model,
        mtp=axis.mtp,
        flags=flags_of(release, axis),
        temperature=axis.temperature,
        least_s=least_s(axis, mode),
    )
    return ServerCell(release, axis, mode, job)


def fixed(release: str) -> ServerCell:
    """The historical defect from the start, and the fix: as the sound server with a draft."""
    axis = AXES["mtp"]
    job = Job(
        name_of(release, axis.name, FIXED),
        "stale-swa-state and its fix state-swap: nothing to tell",
        ("plain", f"mixed:{MIXED}"),
        env={**_DEBUG, "SGLANG_TRIAGE_FIXES": "state-swap"},
        defects={"stale-swa-state": True},
        least_s=150.0,
    )
    return ServerCell(release, axis, FIXED, job)


def released(
    release: str, cause: str, fix: str = "", axis_name: str = "eager", beside: str = ""
) -> ServerCell:
    """A defect that the release has as it stands, every check on; with `fix` nothing is told.

    beside: the fix of another of its defects, which the load would meet first.
    """
    axis = AXES[axis_name]
    mode = FIXED if fix else RELEASED
    fixes = ",".join(name for name in (fix, beside) if name)
    mixed = _MIXED_WITH_LEDGER if axis.mtp else MIXED
    job = Job(
        f"{name_of(release, axis.name, mode)}-{cause}",
        f"the release's own {cause}" + (f", and its fix {fix}" if fix else ""),
        (f"mixed:{mixed}",) if fix else (f"mixed_alarm:{cause}",),
        env={**_EVERY_CHECK, **({"SGLANG_TRIAGE_FIXES": fixes} if fixes else {})},
        observers=(),
        mtp=axis.mtp,
        flags=flags_of(release, axis),
        least_s=300.0 if fix and axis.mtp else 150.0,
    )
    return ServerCell(release, axis, mode, job)


def _cells() -> tuple[ServerCell, ...]:
    """By worth: what was never on a GPU and is nearest to the founding crash comes first."""
    newest = "0.5.14"
    order = [
        *(("fp8", mode) for mode in (OFF, CONTAIN, RAISE)),
        *(("page-32", mode) for mode in (OFF, CONTAIN)),
        *((axis, LOG) for axis in ("target", "mtp")),
        *((axis, OFF) for axis in ("target", "mtp")),
        *(("page-16", mode) for mode in (OFF, CONTAIN)),
        *(("no-radix", mode) for mode in (OFF, CONTAIN)),
        *(("no-overlap", mode) for mode in (OFF, CONTAIN)),
        ("sampled", CONTAIN),
        *((axis, REFUSED) for axis in ("mtp-eager", "shared-fp8", "mtp-fp8")),
        *((axis, mode) for axis in ("mtp", "target") for mode in (CONTAIN, RAISE)),
        *(("eager", mode) for mode in (OFF, RAISE, CONTAIN)),
        *(("mtp-no-overlap", mode) for mode in (OFF, CONTAIN)),
        *((axis, RAISE) for axis in ("page-32", "page-16", "no-radix", "no-overlap", "sampled")),
        *((axis, LOG) for axis in ("fp8", "eager")),
    ]
    found = [cell(newest, axis, mode) for axis, mode in order]
    found += [
        fixed(newest),
        released(newest, "locked-prefix-freed"),
        released(newest, "freed-page", axis_name="mtp-plainest"),  # window-edge-evicted
    ]
    for release in ("0.5.15.post1", "0.5.13.post1", "0.5.12.post1"):
        axes = ("target",) if release in _NO_ASSISTANT else ("target", "mtp")
        order = [(a, m) for m in (OFF, CONTAIN, RAISE) for a in axes]
        if release in _NO_ASSISTANT:
            order += [(axis, REFUSED) for axis in ("mtp", "ngram", "piecewise")]
        found += [cell(release, axis, mode) for axis, mode in order]
        if release == "0.5.15.post1":
            found.append(fixed(release))
        elif release not in _NO_ASSISTANT:
            cause, other = "stale-mapping", "keep-locked-prefix"
            found.append(released(release, cause, axis_name="mtp", beside=other))
            found.append(released(release, cause, "free-swa-pages", "mtp", beside=other))
    for release in ("0.5.18", "0.5.23"):
        found += [cell(release, "target", mode) for mode in (OFF, RAISE)]
    return tuple(found)


CELLS = _cells()
