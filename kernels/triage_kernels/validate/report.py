"""Check results as text and JUnit XML. Renders records; computes no result."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence

from triage_kernels.validate.results import CheckResult


def junit(results: Iterable[CheckResult]) -> str:
    """One test case per check."""
    suite = ElementTree.Element("testsuite", name="triage kernels validate")
    counts = {"PASS": 0, "FAIL": 0, "SKIP": 0, "CANNOT_RUN": 0}
    for result in results:
        counts[result.outcome] += 1
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"{result.op}.{result.provider}.{result.device}",
            name=f"{result.check}[{result.dtype}]",
            time=f"{result.seconds:.3f}",
        )
        if result.outcome == "FAIL":
            failure = ElementTree.SubElement(case, "failure", message=result.worst)
            failure.text = "\n".join((*result.failures, result.repro))
        elif result.outcome != "PASS":
            ElementTree.SubElement(case, "skipped", message=f"{result.outcome}: {result.worst}")
    suite.set("tests", str(sum(counts.values())))
    suite.set("failures", str(counts["FAIL"]))
    suite.set("skipped", str(counts["SKIP"] + counts["CANNOT_RUN"]))
    return ElementTree.tostring(suite, encoding="unicode")


def result_text(result: CheckResult, details: bool) -> str:
    """A line for a result; failures get their findings and the line that repeats them."""
    head = f"{result.outcome:10} {result.op:34} {result.provider:7} {result.check:22}"
    text = f"{head} {result.dtype:9} {result.worst}"
    if result.outcome == "FAIL" and details:
        rest = [f"{'':11}also {line}" for line in result.failures[1:6]]
        more = len(result.failures) - 6
        if more > 0:
            rest.append(f"{'':11}and {more} more")
        text = "\n".join((text, *rest, f"{'':11}{result.repro}"))
    return text


def page(title: str, like: str, results: Sequence[CheckResult]) -> str:
    """One page on one implementation, in Markdown: the verdict, every check, what failed."""
    failing = [r for r in results if r.outcome == "FAIL"]
    ran = [r for r in results if r.outcome in ("PASS", "FAIL")]
    verdict = (
        f"**{len(failing)} of {len(ran)} checks fail.**" if failing else
        f"**All {len(ran)} checks that ran pass.**" if ran else "**Nothing could run.**"
    )  # fmt: skip
    dtypes = list(dict.fromkeys(r.dtype for r in results))
    device = results[0].device if results else "-"
    where = "interpreted, not compiled" if device == "cpu" else "compiled"
    lines = [
        f"# {title}", "", f"Held to `{like}` on {device} ({where}). {verdict}", "",
        f"| check | {' | '.join(dtypes)} |", f"|---|{'---|' * len(dtypes)}",
    ]  # fmt: skip
    for check in dict.fromkeys(r.check for r in results):
        by = {r.dtype: r.outcome for r in results if r.check == check}
        lines.append(f"| {check} | {' | '.join(by.get(d, '-') for d in dtypes)} |")
    lines += ["", "## What failed", ""] if failing else []
    for result in failing:
        lines.append(f"- {result.check}, {result.dtype}: {result.worst}")
    return "\n".join(lines) + "\n"
