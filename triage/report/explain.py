"""The terminal view of an explanation, and of a report over several inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from triage import config
from triage.dump.observation import Failure, Observation
from triage.dump.sections import Dump
from triage.explain import Explanation
from triage.explain.advice import Reading
from triage.explain.cause import Cause, Citation
from triage.files.text import console as make_console
from triage.report.next_steps import commands
from triage.report.text import line, say, to_try

if TYPE_CHECKING:
    from triage.explain.together import RankReport, Report

SHOWN_OBSERVATIONS = 8
SHOWN_SENTENCES = 12
SHOWN_ROWS = 5
SHOWN_PAGES = 2
SHOWN_EVENTS = 3
MOST_REPLAYS = 3
PLUGIN = (
    "this tool installed beside the server's SGLang, which loads it as a plugin: "
    f"pip install . in a checkout of it; dumps land in {config.DEFAULT_DIRECTORY}, "
    f"or where {config.DIRECTORY} says"
)
KEPT_OF_MANY = 90  # of so many alike not all may have been kept

_HEADLINES = {
    "unknown": "cause unknown",
    "clean": "nothing wrong: every visible entry is inside the cache and, where known, right",
    "ambiguous": "several causes fit equally well",
}


def print_report(report: Report) -> None:
    """What was given, who faulted first, what each report tells, and what explains it."""
    console = make_console(soft_wrap=True)
    dump = report.inputs[0].dump if len(report.inputs) == 1 else None
    ours = dump is not None and not dump.provenance.get("imported")
    plain = ours and not report.observations and not report.inputs[0].problem
    if not plain:
        for given in report.inputs:
            say(console, line(f"{given.path}: {given.recognised}", style="bold"))
            if given.problem:
                say(console, line(f"  {given.problem}"))
            for text in () if report.recognised and len(report.inputs) > 1 else given.shown:
                say(console, line(f"  | {text.strip()[:200]}", style="dim"))
    _print_ranks(console, report)
    for seen, reading in list(zip(report.observations, report.readings, strict=True))[
        :SHOWN_OBSERVATIONS
    ]:
        _print_reading(console, seen, reading)
    more = len(report.observations) - SHOWN_OBSERVATIONS
    if more > 0:
        say(console, line(f"and {more} more reports (--json has all of them)", style="dim"))
    for path, explanation in report.explanations:
        if not plain:
            of_a_dump = any(given.dump and given.path == path for given in report.inputs)
            what = "the launch of" if of_a_dump else "the exception in"
            say(console, line(f"{what} {path}", style="bold"))
        print_explanation(explanation, console)
    for note in report.notes:
        say(console, line(note))
    if not report.explanations and report.observations:
        say(console, line(_without_a_launch(report), style="bold yellow"))
    if not report.explanations and not report.observations and not _has_problems(report):
        say(
            console,
            line(
                "unknown: nothing in it is known here; triage explain --help says what is read",
                style="bold yellow",
            ),
        )
    if plain and dump is not None:
        for path, explanation in report.explanations:
            say(console, line(f"next: {_next(path, dump, explanation)}"), whole=True)
    if not plain:
        _print_list(console, "missing", report.missing)
        _print_list(console, "next", (*_replays(report), *report.next[:6]))
        if any(f"{config.DEBUG}=" in each for each in report.next[:6]):
            _print_list(console, "with", (PLUGIN,))


def _next(path: str, dump: Dump, explanation: Explanation) -> str:
    """The command that goes on from here: the fix tried, else the launch run again."""
    given = [each["command"] for each in commands(path, dump, explanation)[1:]]
    return next((each for each in given if "--fix" in each), given[0])


def _replays(report: Report) -> list[str]:
    """Of the launches whose cause is named: run again, with its fix where there is one."""
    dumps = {each.path: each.dump for each in report.inputs if each.dump is not None}
    steps = [
        _next(path, dumps[path], explanation)
        for path, explanation in report.explanations
        if explanation.named and path in dumps
    ]
    return [step for step in steps if step.startswith("triage replay ")][:MOST_REPLAYS]


def _without_a_launch(report: Report) -> str:
    if report.stopped:
        return "no fault is told: the server was stopped"
    if any(each.failure is Failure.HARDWARE for each in report.observations):
        return "the GPU's hardware is told to have failed: no launch is needed to say so"
    if any(each.failure is Failure.BEHIND for each in report.observations):
        return "no fault of a kernel is told: a rank did not come to a collective"
    if any(each.values.get("dump") for each in report.observations):
        return "cause unknown from the log alone: the dump that it names tells more"
    return "cause unknown: no launch lies beside it"


def _has_problems(report: Report) -> bool:
    return any(given.problem for given in report.inputs)


def _print_ranks(console: Console, report: Report) -> None:
    ranks = [each for each in report.ranks if each.rank]
    if len(ranks) < 2 and not any(each.collateral for each in report.ranks):
        return
    first = next((each for each in ranks if not each.collateral), None)
    if first is not None:
        say(
            console,
            line(f"{_led(first)}: {first.rank} ({_where(first.observation)})", style="bold red"),
        )
    for each in ranks:
        if each is first:
            continue
        if each.collateral:
            text = f"  {each.rank}: collateral, {each.observation.failure.value}"
        else:
            later = ""
            if first is not None and first.observation.time and each.observation.time:
                later = f", {each.observation.time - first.observation.time:.1f} s later"
            text = f"  {each.rank}: {each.observation.failure.value} of its own{later}"
        say(console, line(f"{text} ({_where(each.observation)})"))


def _led(first: RankReport) -> str:
    return "waited for" if first.observation.failure is Failure.BEHIND else "faulted first"


def _where(seen: Observation) -> str:
    return f"{Path(seen.source).name}:{seen.line}" if seen.source else f"line {seen.line}"


def _print_reading(console: Console, seen: Observation, reading: Reading) -> None:
    times = f", {seen.count}{'+' if seen.count > KEPT_OF_MANY else ''} alike"
    times = times if seen.count > 1 else ""
    rank = f", {seen.rank}" if seen.rank else ""
    say(
        console,
        Text.assemble((reading.headline, "bold"), f"  ({_where(seen)}{rank}{times})"),
    )
    _print_list(console, "tells", reading.says)
    if reading.families:
        _print_list(console, "seen by", (", ".join(reading.families),))


def _print_list(console: Console, label: str, texts: tuple[str, ...]) -> None:
    for index, text in enumerate(texts):
        say(console, line(f"  {label if index == 0 else '':<13}{text}"), whole=label == "next")


def print_explanation(explanation: Explanation, console: Console | None = None) -> None:
    """The causes of one dump, with the evidence, or what is wrong without one."""
    console = console or make_console(soft_wrap=True)
    if explanation.status != "named":
        say(console, line(_headline(explanation), style="bold yellow"))
    if explanation.status == "unknown":
        for sentence in explanation.observed[:SHOWN_SENTENCES]:
            say(console, line(f"  seen       {sentence}"))
    elif explanation.related:
        for each in explanation.related[:SHOWN_OBSERVATIONS]:
            for sentence in each.sentences:
                say(console, line(f"  reported   {sentence}"))
    for cause in explanation.named:
        _print_cause(console, cause)
    _print_pages(console, explanation)
    for cause in explanation.possible:
        label = cause.confidence.name.lower()
        needs = f"; needs {', '.join(cause.missing)}: not recorded" if cause.missing else ""
        say(console, line(f"also possible ({label} confidence): {cause.name}{needs}", style="dim"))
    for cause in explanation.beside:
        say(
            console,
            line(
                f"beside it, and not shown to be its cause, this launch has: {cause.name}",
                style="dim",
            ),
        )


def _print_pages(console: Console, explanation: Explanation) -> None:
    """Whose hand was on the first pages; those without an event say nothing."""
    known = [each for each in explanation.pages if each.events]
    for index, page in enumerate(known[:SHOWN_PAGES]):
        say(console, line(f"  {'whose hand' if index == 0 else '':<11}{page.name}"))
        for event in page.events[:SHOWN_EVENTS]:
            say(console, line(f"  {'':<11}  {event.sentence()}"))
    if len(known) > SHOWN_PAGES:
        more = len(known) - SHOWN_PAGES
        say(console, line(f"  {'':<11}and {more} more pages (--json has them)"))


def _headline(explanation: Explanation) -> str:
    if explanation.status == "unknown" and any(
        each.relation.name in ("NOT_NAMED", "ELSEWHERE", "OTHER_KERNEL", "WRITE", "NOT_GLOBAL")
        for each in explanation.related
    ):
        return "cause unknown: the page table of this launch does not explain the reported fault"
    return _HEADLINES[explanation.status]


def _print_cause(console: Console, cause: Cause) -> None:
    label = f"  ({cause.confidence.name.lower()} confidence)"
    say(console, Text.assemble((cause.name, "bold red"), label))
    for label, texts in (
        ("evidence", cause.evidence),
        ("rows", _citations(cause)),
        ("refuted by", cause.refuted_by),
        ("not known", tuple(f"{each}: not recorded" for each in cause.not_recorded)),
        ("try", (to_try(cause.fix),)),
        ("see", (*cause.links, f"triage explain {cause.key}")),
    ):
        for index, text in enumerate(texts):
            say(console, line(f"  {label if index == 0 else '':<11}{text}"))


def _citations(cause: Cause) -> tuple[str, ...]:
    """The first, and how many more; the others are in JSON as far as they were kept."""
    shown = tuple(map(_citation, cause.rows[:SHOWN_ROWS]))
    more = max(cause.rows_total, len(cause.rows)) - len(shown)
    if more <= 0 or not shown:
        return shown
    kept = len(cause.rows) - len(shown)
    listed = "--json has them" if kept == more else f"--json has {kept} of them"
    return (*shown, f"and {more} more ({listed})")


def _citation(citation: Citation) -> str:
    text = f"{citation.tensor}[{citation.row}, {citation.column}] = {citation.value}"
    if citation.expected is not None:
        text += f", expected {citation.expected}"
    if citation.request is None:
        return text
    known = f" (id {citation.request_id})" if citation.request_id else ""
    return f"{text}, request {citation.request}{known}"
