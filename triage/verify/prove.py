"""Prove each fix in processes of its own: lab runs for whole requests, cases for single calls.

The release a fix is proven on is the newest one at hand that has the defect; for the
defect that no released wheel has, the installed release with the defect re-injected.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from triage.errors import LabError, UnsupportedSGLang, did_you_mean
from triage.lab import bootstrap, versions
from triage.verify.proof import Proof

CLAMP = "clamp"
TIMEOUT_S = 900
CANNOT_RUN = 3


class ProofPlan(NamedTuple):
    """Where a case is proven: a release with the defect, and one that never had it.

    `without` None: the comparison is with the same thing asked for by flag.
    """

    broken: tuple[str, ...]
    without: str | None = None


EAGLE_BROKEN, EAGLE_SOUND = "0.5.12.post1", "0.5.13.post1"
PLANS = {
    "free-swa-pages": ProofPlan(("0.5.13.post1", "0.5.12.post1"), "0.5.14"),
    "keep-locked-prefix": ProofPlan(("0.5.14", "0.5.13.post1", "0.5.12.post1"), "0.5.15.post1"),
    "optional-kv": ProofPlan(("0.5.12.post1",), "0.5.13.post1"),
    "packed-query": ProofPlan(("0.5.15.post1", "0.5.14", "0.5.13.post1", "0.5.12.post1"), "0.5.18"),
    "slotless-draft": ProofPlan(("0.5.14",), "0.5.15.post1"),
    "swa-ratio": ProofPlan(("",)),
    "mm-piecewise-graphs": ProofPlan(("",)),
}
"""Releases in the order they are tried; "" is the installed one."""


def prove(name: str, scenario: str = "smoke") -> Proof:
    """Raises LabError for a fix that cannot be proven here, naming what is missing."""
    if name == "state-swap":
        return _state_swap(scenario)
    if name == CLAMP:
        return _clamp(scenario)
    if name == "draft-own-pool":
        return _draft_own_pool()
    if name in PLANS:
        return _case(name, PLANS[name])
    raise LabError(
        f"no proof for {name!r}{did_you_mean(name, PROVABLE)}; known: {', '.join(PROVABLE)}"
    )


PROVABLE = ("state-swap", CLAMP, "draft-own-pool", *PLANS)


# -- whole requests --------------------------------------------------------------------


def _state_swap(scenario: str) -> Proof:
    defect = ("--reinject", "stale-swa-state")
    fault = _lab("", scenario, *defect, "--no-trap")
    trapped = _lab("", scenario, *defect)
    fixed = _lab("", scenario, *defect, "--fix", "state-swap")
    healthy = _lab("", scenario)
    return Proof(
        fix="state-swap",
        sglang=f"{fault['sglang']}, defect re-injected",
        without=_fault_text(fault) + f"; {_trap_text(trapped)}",
        with_fix=_clean_text(fixed),
        reference="tables of every launch on the same release without the defect",
        red=fault["outcome"] == "fault" and trapped["outcome"] == "trapped",
        green=fixed["outcome"] == "clean",
        equal=fixed["tables_digest"] == healthy["tables_digest"],
    )


def _clamp(scenario: str) -> Proof:
    fault = _lab("", scenario, "--reinject", "stale-swa-state", "--no-trap")
    found = _json_of("", ["-m", "triage.verify.clamp", scenario])
    from triage.verify.clamp import ClampCost

    cost = ClampCost(**found)
    return Proof(
        fix="clamp (comparison only)",
        sglang=f"{cost.sglang}, defect re-injected",
        without=_fault_text(fault),
        with_fix="no fault" if cost.outcome == "clean" else "still faults",
        reference="the right page for every in-window entry",
        red=fault["outcome"] == "fault",
        green=cost.outcome == "clean",
        equal=None if cost.wrong > 0 else True,
        cost=cost.sentence(),
    )


def _draft_own_pool() -> Proof:
    broken, sound, scenario = EAGLE_BROKEN, EAGLE_SOUND, "smoke-eagle"
    trapped = _lab(broken, scenario)
    unguarded = _lab(broken, scenario, "--no-trap")
    fixed = _lab(broken, scenario, "--fix", "draft-own-pool")
    healthy = _lab(sound, scenario)
    wrong = unguarded["wrong_launches"]
    return Proof(
        fix="draft-own-pool",
        sglang=broken,
        without=f"{wrong} of {unguarded['launches']} launches read wrong pages; "
        + _trap_text(trapped),
        with_fix=_clean_text(fixed),
        reference=f"tables of every launch on {sound}",
        red=trapped["outcome"] == "trapped" and wrong > 0,
        green=fixed["outcome"] == "clean",
        equal=fixed["tables_digest"] == healthy["tables_digest"],
    )


def _fault_text(report: dict[str, Any]) -> str:
    fault, first = report["fault"], report["first_wrong"]
    if fault is None or first is None:
        return f"no fault ({report['outcome']})"
    return f"wrong ids from launch {first['launch']}, fault at launch {fault['launch']}"


def _trap_text(report: dict[str, Any]) -> str:
    trapped = report["trapped"]
    if trapped is None:
        return "the trap does not fire"
    return f"{trapped['error']} before launch {trapped['launch']}"


def _clean_text(report: dict[str, Any]) -> str:
    done = f"{report['finished']} of {report['requests']} requests done"
    return f"{report['outcome']}: {report['launches']} launches, {done}"


# -- single calls ----------------------------------------------------------------------


def _case(name: str, plan: ProofPlan) -> Proof:
    broken = next((v for v in plan.broken if not v or v in versions.available()), None)
    if broken is None:
        raise LabError(f"{name} is proven on SGLang {plan.broken[0]}, which is not unpacked here")
    found = _child(broken, name)
    if plan.without is None:
        state, reference = found["by_flag"]["state"], "the same asked for by SGLang's own flag"
    else:
        state = _child(plan.without, name)["without"]["state"]
        reference = f"SGLang {plan.without}, which does not have the defect"
    fixed = found.get("with", {"ok": False, "said": f"not bound ({found['need']})", "state": None})
    return Proof(
        fix=name,
        sglang=found["sglang"],
        without=found["without"]["said"],
        with_fix=fixed["said"],
        reference=reference,
        red=not found["without"]["ok"],
        green=fixed["ok"],
        equal=fixed["state"] == state,
    )


def _child(version: str, name: str) -> dict[str, Any]:
    return _json_of(version, ["-m", "triage.verify.child", name])


# -- processes -------------------------------------------------------------------------


def _lab(version: str, *options: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="triage-verify-") as scratch:
        command = ["-m", "triage", "lab", "run", *options, "--json", "--dir", scratch]
        return _json_of(version, command, accepted=(0, 1))


def _json_of(
    version: str, command: Sequence[str], accepted: tuple[int, ...] = (0,)
) -> dict[str, Any]:
    """The JSON object on the last line that `command` prints, run under `version`."""
    done = subprocess.run(
        [sys.executable, *command],
        env=versions.environment(version) if version else None,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    last = (done.stdout.splitlines() or [""])[-1].removeprefix("FOUND ")
    if done.returncode not in accepted or not last.startswith("{"):
        said = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        if done.returncode == CANNOT_RUN:
            raise UnsupportedSGLang(said.removeprefix("Error: "))
        raise LabError(f"`{' '.join(command)}` ended with {done.returncode}: {said}")
    found: dict[str, Any] = json.loads(last)
    return found


Progress = Callable[[int, int, str], None]
"""Told before each proof: proofs done, proofs, the fix that is next."""


def releases_needed(name: str) -> tuple[tuple[str, ...], ...]:
    """The SGLang releases of a proof; of each of these one will do. Empty: the installed one."""
    if name == "draft-own-pool":
        return ((EAGLE_BROKEN,), (EAGLE_SOUND,))
    plan = PLANS.get(name, ProofPlan(("",)))
    one_of = () if "" in plan.broken else (plan.broken,)
    return (*one_of, *(((plan.without,),) if plan.without else ()))


def check(names: Sequence[str]) -> None:
    """Before minutes of work: is there all that these proofs need?

    Raises:
        UnsupportedSGLang: without torch, Triton or SGLang, or a release that is not unpacked;
            says which proofs are left and how to get the rest.
    """
    bootstrap.sglang_version()
    for package in ("torch", "triton"):
        bootstrap.need(package)
    there = versions.available()
    lacks = {
        name: [one_of[0] for one_of in releases_needed(name) if not {*one_of} & {*there}]
        for name in names
    }
    missing = list(dict.fromkeys(each for releases in lacks.values() for each in releases))
    if not missing:
        return
    without = [name for name in names if lacks[name]]
    rest = [name for name in names if not lacks[name]]
    install = "; ".join(
        f"pip install --no-deps --target {versions.ROOT / each} sglang=={each}" for each in missing
    )
    raise UnsupportedSGLang(
        f"{', '.join(without)} {'is' if len(without) == 1 else 'are'} proven on SGLang "
        f"{', '.join(missing)}, not unpacked here ({install})"
        + (f"; without: triage verify {' '.join(rest)}" if rest else "")
    )


def prove_all(names: Sequence[str], scenario: str, progress: Progress) -> list[Proof]:
    """Raises UnsupportedSGLang before the first proof if one of them lacks what it needs."""
    proofs = []
    chosen = names or tuple(PROVABLE)
    check(chosen)
    for done, name in enumerate(chosen):
        progress(done, len(chosen), name)
        proofs.append(prove(name, scenario))
    return proofs
