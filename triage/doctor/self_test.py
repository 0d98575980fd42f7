"""Does a trap fire here? Plants a wrong page id in throw-away processes, and says who noticed.

What is planted and where is `planted.py`. A test that could not run is no finding about the
traps: it is said with its reason, and counts neither way.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from triage.config import DEBUG
from triage.doctor.ask import FINE, run_child

FIRED, SILENT, FALSE_ALARM, NOT_RUN = "fired", "SILENT", "FALSE ALARM", "not run"


@dataclass(frozen=True, slots=True)
class Shown:
    """One of the two tests.

    where: "hooks" (SGLang's classes on the CPU) or "gpu" (the checker's kernels).
    state: one of the four above. facts: as `planted.py` told them.
    """

    where: str
    state: str
    reason: str
    facts: Mapping[str, Any]

    def json(self) -> dict[str, Any]:
        return {"where": self.where, "state": self.state, "reason": self.reason, **self.facts}


def self_test(
    environment: Mapping[str, str],
    *,
    gpu: bool,
    release: str | None = None,
    timeout_s: float = 120,
    progress: Callable[[int, str], None] = lambda done, now: None,
) -> tuple[Shown, ...]:
    """Both tests, one after the other; the GPU's only where there is one.

    Args:
        environment: of the children; what it asks of the traps is not what they are asked for.
        gpu: is there one here.
        release: of SGLang, unpacked beside the installed one.
        progress: is told how many tests are done, and which is next.
    Raises:
        LabError: for a release that is not there.
    """
    progress(0, "self-test of the hooks")
    kept = {name: value for name, value in environment.items() if not name.startswith(_OURS)}
    with tempfile.TemporaryDirectory(prefix="triage-self-test-") as directory:
        # Without a GPU in sight: on one, the lab's stand-ins would meet SGLang's real kernels.
        blind = {**kept, "CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1"}
        if release:
            from triage.lab import versions

            blind["PYTHONPATH"] = versions.environment(release)["PYTHONPATH"]
        hooks = _show("hooks", [directory], blind, timeout_s)
    progress(1, "self-test on the GPU")
    if not gpu:
        return hooks, Shown("gpu", NOT_RUN, "there is no GPU here", {})
    return hooks, _show("gpu", [], kept, timeout_s)


_OURS = (DEBUG, "SGLANG_TRIAGE_", "SGLANG_PLUGINS")


def exit_code(shown: tuple[Shown, ...]) -> int:
    """0 every test that ran fired, 1 one did not or fired unharmed, 3 none ran."""
    states = {each.state for each in shown}
    if states & {SILENT, FALSE_ALARM}:
        return 1
    return 0 if FIRED in states else 3


def lines(shown: tuple[Shown, ...]) -> list[str]:
    """One line a test, for a reader."""
    return [f"self-test, {_TITLES[each.where]}: {_sentence(each)}" for each in shown]


_TITLES = {
    "hooks": "a wrong page id below SGLang's init_forward_metadata (CPU, FlashInfer stood in)",
    "gpu": "a wrong page id in a table on the GPU",
}


def _sentence(shown: Shown) -> str:
    facts = shown.facts
    if shown.state == NOT_RUN:
        return f"not run: {shown.reason}"
    if shown.state == FALSE_ALARM:
        return f"FALSE ALARM before anything was planted: {facts['alarm_unharmed']}"
    if shown.state == SILENT:
        return "planted, and NOTHING fired"
    if shown.where == "gpu":
        return f"fired on {facts['device']}, launched and in a replayed CUDA graph"
    read = "its dump reads back" if facts["dump_read"] else "its dump does NOT read back"
    return f"{facts['error']} before the launch, {read}; {facts['message']}"


def _show(
    where: str, arguments: list[str], environment: Mapping[str, str], timeout_s: float
) -> Shown:
    command = [sys.executable, "-m", "triage.doctor.planted", where, *arguments]
    ran = run_child(command, environment, timeout_s)
    try:
        facts: dict[str, Any] = json.loads(ran.output)
    except ValueError:
        facts = {}
    if ran.state != FINE or not facts:
        reason = ran.reason or "it told nothing"
        if "No module named 'torch'" in reason:
            reason = "needs torch, which is not installed here: pip install torch"
        return Shown(where, NOT_RUN, reason, {})
    fired = FIRED if facts["fired"] else SILENT
    return Shown(where, FALSE_ALARM if facts["alarm_unharmed"] else fired, "", facts)
