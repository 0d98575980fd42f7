"""`triage doctor` as text: at most 40 lines, unless every hook is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from textwrap import wrap

from triage import config
from triage.doctor.child import ABSENT, BROKEN, FOUND, LATE, READ, SKIPPED, STOOD_IN
from triage.doctor.examine import BAD_ENVIRONMENT, NOTHING_TO_ASK, ONE_DOES_NOT, Examined
from triage.files.text import printable
from triage.invariants.catalogue import IN_GRAPHS
from triage.sglang.binding.left_out import NEW
from triage.sglang.launch.coverage import Launches

MAX_LINES = 40
MAX_LISTED = 5
"""Findings of one kind before the rest are counted; `-v` and `--json` have all."""

_TRTLLM_GEN = ("sm_100", "sm_103")
_WIDTH = 220
_REFUSED = "BAD ENVIRONMENT, no server starts with it: "
"""Never cut: it ends with what is accepted."""

_WHAT_A_MODE_DOES = {
    "raise": "an exception before the launch; inside CUDA graphs as contain",
    "contain": "ids outside the pool redirected, an exception before the step's tokens leave",
    "log": "a line in the log, the launch runs as it is",
}


def text(found: Examined, verbose: bool = False) -> str:
    """Everything asked, one fact a line; a refused environment variable comes first."""
    lines = [
        *_environment(found),
        *_machine(found),
        *_packages(found),
        *_hooks(found, verbose),
        *_launches(found),
        *_left_out(found, verbose),
        *_modes(found),
        *_seconds(found),
    ]
    refused = [printable(f"{_REFUSED}{found.refused}")] if found.refused else []
    return "\n".join([*refused, *(printable(line)[:_WIDTH] for line in lines)])


def verdict(found: Examined, self_test: int = 0) -> str:
    """The last line: what the exit code says, in words. self_test: its exit code, 0 if fine."""
    release = found.stages["sglang"].get("version", "")
    code = found.exit_code
    if code == BAD_ENVIRONMENT:
        what = "these flags" if found.refused_flags and not found.refused else "this environment"
        return f"verdict: no server starts with {what}"
    if code == NOTHING_TO_ASK:
        return "verdict: no SGLang to ask; run this where a server's SGLang is installed"
    if code == ONE_DOES_NOT:
        return "verdict: the traps do NOT stand here"
    if self_test:
        return "verdict: every trap binds, but the self-test did not see one fire as it should"
    here = ", by its source" if "late_s" in found.stages["sglang"] else ""
    if "no_scheduler" in found.stages["sglang"]:
        here = "; no server starts on this machine, which has no GPU and lacks what is named above"
    return f"verdict: every trap binds on SGLang {release}{here}"


def _environment(found: Examined) -> Iterator[str]:
    yield from _few([f"environment: {each}" for each in found.warnings])
    asked = found.asked
    if not found.refused and asked.asks_for_anything:
        parts = []
        if asked.debug:
            checks = ",".join(asked.checks)
            parts.append(f"traps in mode {asked.mode}, checks {checks}, dumps in {asked.directory}")
        parts += [f"fixes {','.join(asked.fixes)}"] if asked.fixes else []
        parts += [f"fused ops {','.join(asked.fused)}"] if asked.fused else []
        parts += ["piecewise graphs for multimodal models"] if asked.mm_graphs else []
        yield "environment: asks for " + "; ".join(parts)
    elif not found.refused:
        yield f"environment: asks for nothing; {config.DEBUG}=1 arms the traps"


def _machine(found: Examined) -> Iterator[str]:
    gpu = found.stages["gpu"]
    if gpu["state"] == FOUND:
        arch = gpu["arch"]
        kernel = "trtllm-gen runs here" if arch in _TRTLLM_GEN else "trtllm-gen needs sm_100/103"
        yield f"GPU: {gpu['name']} ({arch}, CUDA driver {gpu['cuda_driver']}): {kernel}"
    else:
        yield f"GPU: {_state(gpu, 'none')}; trtllm-gen needs sm_100/103"
    packages = found.stages["packages"]
    if packages["state"] != FOUND:
        yield f"packages: {_state(packages, '')}"
        return
    python = packages["python"]
    installed = packages["installed"]
    named = [f"{name} {facts['version'] or 'unversioned'}" for name, facts in installed.items()
             if facts["present"]]  # fmt: skip
    missing = [name for name, facts in installed.items() if not facts["present"]]
    without = f"; not installed: {', '.join(missing)}" if missing else ""
    python = packages["python"]
    yield f"packages: {', '.join((f'Python {python}', *named))}{without}"
    if not packages["entry_point"]:
        plugin = "NOT found: pip install . in a checkout of sglang-triage"
    elif found.sglang_absent:
        plugin = "registered; there is no SGLang here to load it"
    else:
        plugin = "registered, so that SGLang finds it"
    yield f"plugin: entry point {plugin}"


def _packages(found: Examined) -> Iterator[str]:
    """Only what is not simply there; what was stood in is always named."""
    for name in ("torch", "torchvision", "flashinfer", "sglang"):
        facts = found.stages[name]
        if facts["state"] == STOOD_IN:
            yield f"{name}: stood in (no GPU here): {facts['what']}"
        elif facts["state"] not in (FOUND, SKIPPED, ABSENT, READ, LATE):
            yield f"{name}: {_state(facts, '')}"
    if "no_scheduler" in (facts := found.stages["sglang"]):
        yield f"sglang: its scheduler cannot be imported here: {facts['no_scheduler']}"


def _hooks(found: Examined, verbose: bool) -> Iterator[str]:
    bind = found.stages["bind"]
    if found.sglang_absent:
        yield "hooks: no SGLang is installed, so there is nothing to ask: pip install sglang"
        return
    hooks = bind.get("hooks", [])
    if not hooks:
        why = bind.get("reason") or "SGLang could not be imported"
        yield f"hooks: the traps do NOT bind: {why}"
        return
    bound = sum(hook["bound"] for hook in hooks)
    hint = "" if verbose else " (-v lists them)"
    yield f"hooks: {bound} of {len(hooks)} bind on SGLang {found.stages['sglang']['version']}{hint}"
    if found.source:
        yield f"  by its source, {found.source}; nothing of it was imported, no fix was probed"
    elif late := found.stages["sglang"].get("late_s"):
        slow = f"importing SGLang takes longer than {late:g} s here"
        yield f"  by its source: {slow} (--wait imports it)"
    for hook in hooks if verbose else ():
        state = "bound " if hook["bound"] else "MISSED"
        yield f"  {state} {_short(hook['target'])}: {hook['why']}"
    if not verbose:
        missed = [hook for hook in hooks if not hook["bound"]]
        yield from _few([f"  MISSED {_short(hook['target'])}: {hook['why']}" for hook in missed])
    absent = [f"  n/a {_short(where)}: {why}" for where, why in bind["not_applicable"].items()]
    if verbose:
        yield from absent
    elif absent:
        yield f"  {len(absent)} places that this release does not have, or not here (-v)"
    requested = found.stages["requested"]
    for name, what in requested.get("fixes", {}).items():
        yield f"fix {name}: {what}"


def _launches(found: Examined) -> Iterator[str]:
    served = found.served
    where = served.arch if found.stages["gpu"]["state"] == FOUND else f"{served.arch} (not here)"
    flags = " ".join(found.flags) or "SGLang's choice of backends (give flags behind --)"
    yield f"launches on {where}, {flags}:"
    if found.refused_flags:
        yield f"  SGLang refuses these flags: {found.refused_flags}"
    elif served.refused:
        yield f"  {served.refused} names another"
    for seen, title in ((True, "seen"), (False, "NOT seen")):
        those = [each for each in served.launches if each.seen is seen]
        if those:
            yield f"  {title}: {_by_backend(those)}"
    if any(not each.seen for each in served.launches):
        yield "    of these what they read is not checked; writes (I3), allocator and books are"
    if served.pools:
        yield f"  NOT seen, by {', '.join(served.pools)}: what such a pool hands out (I20, ledger),"
        yield "    what is written to it (I3), and whose pages are read (I2)"


def _left_out(found: Examined, verbose: bool) -> Iterator[str]:
    """Counted by kind; with -v by the reason, which a reader of one model's flags looks for."""
    rows = found.left_out_classes
    if not rows:
        return
    counts = Counter(row["kind"] for row in rows)
    kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(counts.items()))
    hint = "" if verbose else " (-v and --json: which and why)"
    yield f"not covered, calls of other models' and platforms' classes: {kinds}{hint}"
    new = [row for row in rows if row["why"] == NEW]
    yield from _few([f"  NEW {row['kind']} {row['what']}: {row['why']}" for row in new])
    by_reason: dict[str, list[str]] = {}
    for row in rows if verbose else ():
        by_reason.setdefault(row["why"], []).append(row["what"])
    for why, names in by_reason.items():
        yield f"  {why}:"
        yield from wrap(
            ", ".join(names), _WIDTH // 2, initial_indent="    ", subsequent_indent="    "
        )


def _by_backend(launches: list[Launches]) -> str:
    kinds: dict[str, list[str]] = {}
    for each in launches:
        kinds.setdefault(each.backend, []).append(each.kind)
    return "; ".join(f"{', '.join(names)} through {name}" for name, names in kinds.items())


def _modes(found: Examined) -> Iterator[str]:
    asked = "asked for" if found.asked.debug else "once armed"
    yield f"checks {asked}: {', '.join(sorted(found.enabled, key=_number))} (docs/traps.md)"
    if "reads_device" not in found.stages["bind"]:
        return
    for mode, what in _WHAT_A_MODE_DOES.items():
        everywhere, _ = found.left_out(mode)
        yours = " (yours)" if found.asked.debug and mode == found.asked.mode else ""
        without = f"; without {', '.join(everywhere)}, which wait for the device"
        yield f"  {mode}{yours}: {what}{without if everywhere else ''}"
    if not found.served.graphs:
        yield "  CUDA graphs: none with these flags"
        return
    _, in_graphs = found.left_out("raise")
    inside = ", ".join(name for name in IN_GRAPHS if name in found.enabled) or "nothing"
    without = f"; not {', '.join(in_graphs)}, which need Python at the launch" if in_graphs else ""
    yield f"  in CUDA graphs, every mode: {inside} at the launch{without}"


def _seconds(found: Examined) -> Iterator[str]:
    if "late_s" in found.stages["sglang"]:
        return
    spent = {name: facts.get("seconds", 0.0) for name, facts in found.stages.items()}
    longest = sorted(spent, key=lambda name: -spent[name])[:4]
    parts = ", ".join(f"{name} {spent[name]:.1f}" for name in longest if spent[name] >= 0.05)
    if parts:
        yield f"seconds: {sum(spent.values()):.1f} in all; {parts}"


def _state(facts: dict[str, str], otherwise: str) -> str:
    if facts["state"] == ABSENT:
        return facts.get("reason", otherwise)
    state = "cannot be imported" if facts["state"] == BROKEN else facts["state"].upper()
    return f"{state}: {facts.get('reason', 'no reason given')}"


def _few(lines: list[str]) -> list[str]:
    rest = len(lines) - MAX_LISTED
    return lines if rest <= 0 else [*lines[:MAX_LISTED], f"  and {rest} more (--json)"]


def _short(target: str) -> str:
    return ".".join(target.split(".")[-2:])


def _number(name: str) -> int:
    return int(name[1:])
