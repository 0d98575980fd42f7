"""Which run of the lab the fields of a driver ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from triage.errors import LabError, did_you_mean
from triage.lab.bugs.bug import SMALL
from triage.lab.drivers.schedule_batch import CACHES
from triage.lab.geometry import Geometry
from triage.lab.scenarios import Scenario, with_backend

DRAFTS = ("frozen", "eagle", "none")
_SIZES = {each.name for each in fields(Geometry)}
_LOAD = {each.name for each in fields(Scenario)} - {"name", "what", "geometry"}
FIELDS = (*sorted(_SIZES | _LOAD), "overlap", "seed")


@dataclass(frozen=True, slots=True)
class Workload:
    """A scenario and what a bench is given beside it."""

    scenario: Scenario
    overlap: bool = True
    seed: int = 0


def workload(given: Mapping[str, Any]) -> Workload:
    """The catalogue's small run with the fields of `given` changed.

    With a cache there is no draft unless one is given. Raises LabError for a field or a
    value that is not known, and for what no server runs.
    """
    unknown = [name for name in given if name not in FIELDS]
    if unknown:
        raise LabError(
            f"WORKLOAD has no field {unknown[0]!r}{did_you_mean(unknown[0], FIELDS)}; "
            f"known: {', '.join(FIELDS)}"
        )
    for name, known in (("cache", ("", *CACHES)), ("draft", DRAFTS)):
        if given.get(name, known[0]) not in known:
            raise LabError(f"WORKLOAD: {name} {given[name]!r} is not one of {', '.join(known[1:])}")
    load = {name: value for name, value in given.items() if name in _LOAD}
    if load.get("cache"):
        load.setdefault("draft", "none")
        if load["draft"] != "none":
            raise LabError("WORKLOAD: with a cache there is no draft; leave one of them out")
    sizes = {name: value for name, value in given.items() if name in _SIZES}
    scenario = replace(
        SMALL, name="blind", what="", geometry=replace(SMALL.geometry, **sizes), **load
    )
    return Workload(
        with_backend(scenario, scenario.backend),
        overlap=bool(given.get("overlap", True)),
        seed=int(given.get("seed", 0)),
    )
