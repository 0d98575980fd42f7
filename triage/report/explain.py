"""The terminal view of an explanation."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from triage.explain import Explanation
from triage.explain.cause import Cause, Citation
from triage.files.text import console as make_console
from triage.report.text import line

_HEADLINES = {
    "unknown": "cause unknown",
    "clean": "nothing wrong: every visible entry is inside the cache and, where known, right",
    "ambiguous": "several causes fit equally well",
}


def print_explanation(explanation: Explanation) -> None:
    console = make_console(soft_wrap=True)
    if explanation.status != "named":
        console.print(line(_HEADLINES[explanation.status], style="bold yellow"))
    if explanation.status == "unknown":
        for sentence in explanation.observed:
            console.print(line(f"  seen       {sentence}"))
    for cause in explanation.named:
        _print_cause(console, cause)
    others = [cause for cause in explanation.causes if cause not in explanation.named]
    for cause in others:
        label = cause.confidence.name.lower()
        console.print(line(f"also possible ({label} confidence): {cause.name}", style="dim"))


def _print_cause(console: Console, cause: Cause) -> None:
    label = f"  ({cause.confidence.name.lower()} confidence)"
    console.print(Text.assemble((cause.name, "bold red"), label))
    for label, texts in (
        ("evidence", cause.evidence),
        ("rows", tuple(map(_citation, cause.rows))),
        ("refuted by", cause.refuted_by),
        ("try", (cause.fix,)),
        ("see", cause.links),
    ):
        for index, text in enumerate(texts):
            console.print(line(f"  {label if index == 0 else '':<11}{text}"))


def _citation(citation: Citation) -> str:
    text = f"{citation.tensor}[{citation.row}, {citation.column}] = {citation.value}"
    return text if citation.expected is None else f"{text}, expected {citation.expected}"
