"""Machine-readable output: what every `--json` prints names its schema, which is in the package.

The failure: a script reads a key that a later release renamed, or a list of which a part was
left out, and nothing says so. The rule: each report is one JSON object whose `schema` is
`sglang-triage/NAME/VERSION`; `triage/files/schemas/NAME.json` says what it holds, and a
version is new where a key goes or changes its meaning. What would be a list alone is `rows`,
and always whole.
"""

from __future__ import annotations

import json
from typing import Any

from triage.files.text import plain

VERSIONS = {
    "batch": 1,
    "batch-report": 1,
    "doctor": 1,
    "explain": 1,
    "explain-class": 1,
    "explain-invariant": 1,
    "fixes": 1,
    "fusions": 1,
    "kernels-aot": 1,
    "kernels-bench": 1,
    "kernels-list": 1,
    "kernels-mutants": 1,
    "kernels-sanitize": 1,
    "kernels-tune": 1,
    "kernels-validate": 1,
    "lab-blind": 1,
    "lab-bug": 1,
    "lab-bugs": 1,
    "lab-list": 1,
    "lab-machine": 1,
    "lab-matrix": 1,
    "lab-run": 1,
    "lab-serve": 1,
    "lab-soak": 2,
    "lab-versions": 1,
    "merge": 1,
    "minimise": 1,
    "pools": 1,
    "pools-log": 1,
    "probe": 1,
    "quality": 1,
    "replay": 1,
    "report": 1,
    "resolve": 1,
    "run": 1,
    "show": 1,
    "verify": 1,
    "workload": 1,
    "workload-compare": 1,
    "written": 1,
}
"""Every report and the version of what it holds."""


def report(name: str, value: Any) -> dict[str, Any]:
    """`value` as the object that is printed, its schema first."""
    body = plain(value)
    if not isinstance(body, dict):
        body = {"rows": body}
    return {"schema": f"sglang-triage/{name}/{VERSIONS[name]}", **body}


def report_json(name: str, value: Any, indent: int | None = None) -> str:
    """The text of a report: valid JSON, see `triage.files.text.to_json`."""
    return json.dumps(report(name, value), indent=indent, allow_nan=False)


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the report `name`."""
    from importlib import resources  # takes 5 ms to load, and only this needs it

    source = resources.files("triage.files") / "schemas" / f"{name}.json"
    found: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return found
