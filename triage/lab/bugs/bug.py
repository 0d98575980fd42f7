"""What one catalogued defect is: where it comes from, how it is played, what must notice it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from triage.lab.runtime import Geometry
from triage.lab.scenarios import Scenario

if TYPE_CHECKING:
    from triage.lab.rig import Bench

Harmed = Callable[[], None]
"""Called by an injection when the state is first wrong and no oracle of the lab can see it."""

Inject = Callable[[Harmed], AbstractContextManager[Any]]

SGLANG = "https://github.com/sgl-project/sglang"

SMALL = Scenario(
    name="catalogue",
    what="Six layers, four short requests",
    geometry=Geometry(
        page_size=16,
        swa_pages=30,
        full_pages=40,
        window=48,
        num_layers=6,
        full_every=3,
        kv_shared_layers=2,
        context_len=256,
        max_requests=3,
    ),
    requests=4,
    concurrency=3,
    prompt_tokens=80,
    output_tokens=24,
    chunk=64,
    keeps_rejected=True,
)


def small(**changes: Any) -> Scenario:
    """The catalogue's scenario with some fields changed."""
    return replace(SMALL, **changes)


def always() -> str:
    return ""


def untouched(harmed: Harmed) -> AbstractContextManager[None]:
    """SGLang as released."""
    return nullcontext()


def to_the_end(bench: Bench) -> None:
    bench.driver.run(lambda done, total: None)


@dataclass(frozen=True, slots=True)
class Bug:
    """One defect.

    reference: where upstream reported or fixed it, or "found here".
    invariants: those that may answer, the most telling one first.
    released: it is in a released wheel as it stands; otherwise `inject` puts it back.
    applies: why it cannot be played on the SGLang at hand, empty if it can.
    cause: the class `triage explain` should name; empty where there is no rule for it.
    fix: name of our fix that removes it, if there is one.
    """

    name: str
    what: str
    reference: str
    invariants: tuple[str, ...]
    inject: Inject = untouched
    play: Callable[[Bench], None] = to_the_end
    scenario: Scenario = SMALL
    overlap: bool = True
    released: bool = False
    applies: Callable[[], str] = always
    cause: str = ""
    also: tuple[str, ...] = ()  # further classes that are right, where the alarm may differ
    fix: str = ""
