"""What one report tells of another in the same text: who is waited for, what a plan holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from triage.dump.observation import Failure, Form, Observation


def with_stragglers(observations: tuple[Observation, ...]) -> tuple[Observation, ...]:
    """Of ranks that tell how many collectives they have begun, those with fewer are behind.

    The others wait for them, whoever's watchdog speaks first.
    """
    begun = {each.rank: each.values["begun"] for each in observations if "begun" in each.values}
    most = max(begun.values(), default=0)
    waiting = [rank for rank, number in begun.items() if number == most]

    def told(seen: Observation) -> Observation:
        if begun.get(seen.rank, most) == most or seen.failure is not Failure.HUNG:
            return seen
        values = {**seen.values, "awaited": most, "waiting": waiting}
        return replace(seen, failure=Failure.BEHIND, values=values)

    return tuple(map(told, observations))


_INDICES = {"Decode": ("indices", "arg_2"), "Prefill": ("paged_kv_indices", "arg_3")}
"""Of FlashInfer's paged wrappers: the page ids that `plan` is given, by name or by place."""
_CACHES = ("paged_kv_cache", "arg_2")


def with_plans(observations: tuple[Observation, ...]) -> tuple[Observation, ...]:
    """A logged `run` with the largest page id of its wrapper's last `plan`, and its cache's pages.

    FlashInfer logs values from level 5 on; below it there is nothing to compare.
    """
    largest: dict[str, int] = {}
    for each in observations:
        wrapper, _, method = str(each.values.get("call", "")).rpartition(".")
        if each.form is Form.CALL and method == "plan":
            names = next((names for kind, names in _INDICES.items() if kind in wrapper), ())
            planned = _first(each, names).get("max")
            if isinstance(planned, int):
                largest[wrapper] = planned

    def told(seen: Observation) -> Observation:
        wrapper, _, method = str(seen.values.get("call", "")).rpartition(".")
        shape = _first(seen, _CACHES).get("shape")
        paged = "Paged" in wrapper and method == "run" and wrapper in largest
        if seen.form is not Form.CALL or not paged or not isinstance(shape, list) or not shape:
            return seen
        return replace(
            seen, values={**seen.values, "largest_id": largest[wrapper], "pages": shape[0]}
        )

    return tuple(map(told, observations))


def _first(seen: Observation, names: tuple[str, ...]) -> dict[str, Any]:
    arguments = seen.values.get("arguments") or {}
    found = (arguments[name] for name in names if isinstance(arguments.get(name), dict))
    return next(found, {})
