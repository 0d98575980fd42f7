"""Causes against what other tools saw: which may be named for the fault, and how surely.

The rule, in this order:
1. A class that lacks a fact it needs is possible, never named (`Cause.missing`).
2. A fault that another tool reported and that leads away from this launch is not explained
   by its table: what the table shows stands beside it. One report that leads there outweighs
   this for the table, since both happened.
3. A report that decides nothing (no address, no caches recorded, the host's message alone)
   leaves a cause at most MEDIUM: that it belongs to this launch is not recorded.
4. A fact that would only make it surer and is not recorded leaves HIGH at MEDIUM.
"""

from __future__ import annotations

from dataclasses import replace

from triage.explain.cause import Cause, Confidence
from triage.explain.observed import LEADS_AWAY, Related, Relation

_BELONGS = "whether the reported fault belongs to this launch"


def weigh(
    causes: tuple[Cause, ...], seen: tuple[Related, ...], *, of_another_launch: bool = False
) -> tuple[tuple[Cause, ...], tuple[Cause, ...]]:
    """(causes of the fault, causes that this launch shows beside it).

    of_another_launch: the launch that is recorded is known not to be the one that faulted.
    """
    surest = tuple(_by_what_is_recorded(cause) for cause in causes)
    relations = {each.relation for each in seen}
    if Relation.NAMED in relations:
        return _sorted(surest), ()
    if relations & LEADS_AWAY:
        of_fault = tuple(cause for cause in surest if not cause.of_table)
        return _sorted(of_fault), _sorted(tuple(each for each in surest if each.of_table))
    if of_another_launch or relations & {Relation.CANNOT_TELL, Relation.CONTENT}:
        return _sorted(tuple(_undecided(cause) for cause in surest)), ()
    return _sorted(surest), ()


def _by_what_is_recorded(cause: Cause) -> Cause:
    if cause.missing:
        return replace(cause, confidence=Confidence.LOW)
    if cause.not_recorded and cause.confidence is Confidence.HIGH:
        return replace(cause, confidence=Confidence.MEDIUM)
    return cause


def _undecided(cause: Cause) -> Cause:
    return replace(
        cause,
        confidence=min(cause.confidence, Confidence.MEDIUM),
        not_recorded=(*cause.not_recorded, _BELONGS),
    )


def _sorted(causes: tuple[Cause, ...]) -> tuple[Cause, ...]:
    return tuple(sorted(causes, key=lambda cause: -cause.confidence))
