"""A dump without what a stranger need not know: the gate through which every dump leaves.

A server's dumps pass it when they are stored, old files with `triage redact`. Numbers stay:
tables, lengths, sizes and addresses are the evidence. Text stays where it is a name that SGLang,
FlashInfer or this toolkit gives, or a sentence of this toolkit's own; what an exception said,
where a file lay, an address of the net or an unknown section does not.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from triage.dump import known_errors
from triage.dump.history import CRASH
from triage.dump.provenance import (
    PACKAGES,
    command_name,
    environment,
    server_arguments,
)
from triage.dump.request_ids import FACT, hashed, without_ids
from triage.dump.sections import Backend, Dump, Launch, Tables
from triage.evidence import Evidence, TensorFacts

REMOVED = "(removed)"
MAX_SENTENCE = 400
IDENTITY = ("host", "user")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_PATH = re.compile(r"(?<![\w./])~?(?:/[^\s/:;,'\"()]+){2,}/?")
_QUOTED = re.compile(r"'[^'\n]{25,}'|\"[^\"\n]{25,}\"")
_WORDS = re.compile(r"[\w ,.()=\[\]/+<>@-]{0,200}")
_SENTENCES = ("stale", "lost")
_NAME = re.compile(r"[\w .+@<>:\[\]-]{0,120}")
_ARGUMENT = re.compile(
    r"HND|NHD|auto|trtllm-(gen|native)|xqa|fa2|fa3|cudnn|cutlass|cpu|cuda(:\d{1,3})?|"
    r"(torch\.)?(bfloat16|float\d{1,2}\w{0,12}|u?int\d{1,2}|bool)|<\w{1,60}>|"
)
_VERSION = re.compile(r"[0-9][\w.+!-]{0,60}")
_GPU = re.compile(r"[A-Za-z0-9][\w ()./-]{0,80}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d{4})?")
_DIGITS = re.compile(r"\d{0,6}")
_OURS = re.compile(r"[A-Za-z0-9 ,.()_-]{0,120}")
_PLAIN: dict[str, re.Pattern[str]] = {
    "time": _TIME,
    "rank": _DIGITS,
    "python": _VERSION,
    "sglang": _VERSION,
    "flashinfer": _VERSION,
    "gpu": _GPU,
    "arch": re.compile(r"(sm_)?\d{2,4}[af]?"),
    "imported": _OURS,
}
"""Keys of `provenance` whose value is text, and its form; numbers are kept under any of these."""

_NUMBERS = ("pid", "launcher", "step", "sm_count")
_LISTS = ("lacks", "left_out", "not_covered")


def redact(dump: Dump, *, kv: bool = False, identity: bool = False) -> Dump:
    """`dump` with what may leave the machine.

    Args:
        kv: keep keys, values and queries, if it holds any.
        identity: keep the names of host and user, and ids of requests that are not hashed.
    """
    return replace(
        dump,
        fault=_fault(dump.fault if identity else without_ids(dump.fault)),
        tables=dump.tables if identity or dump.tables is None else _tables(dump.tables),
        launch=None if dump.launch is None else _launch(dump.launch),
        backend=None if dump.backend is None else _backend(dump.backend),
        history=tuple(_texts(entry) for entry in dump.history),
        provenance=_provenance(dump.provenance, identity),
        kv=dump.kv if kv else None,
        extra={},
    )


def sentence(text: str) -> str:
    """One of our own sentences, without a path, an address of the net or a long quotation."""
    line = next(iter(text.splitlines()), "")[:MAX_SENTENCE]
    line = _URL.sub(REMOVED, line)
    line = _PATH.sub(lambda match: PurePosixPath(match[0]).name, line)
    return _QUOTED.sub(REMOVED, line)


def _fault(fault: Evidence) -> Evidence:
    summary = sentence(fault.summary)
    if not fault.invariant and fault.facts.get("kind") == CRASH:
        # Older dumps hold what the exception said; its type is enough.
        kind = fault.summary.split(":")[0].strip()
        if not known_errors.is_ours(fault.summary):
            summary = known_errors.described(kind, fault.summary, "the scheduler")
    return replace(
        fault,
        summary=summary,
        where=sentence(fault.where),
        pool=_name(fault.pool),
        forward_mode=_name(fault.forward_mode),
        facts=_facts(fault.facts),
    )


def _facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Ids of requests were hashed before, or are to be told as they are."""
    ids = facts.get(FACT)
    kept: dict[str, Any] = _texts({name: each for name, each in facts.items() if name != FACT})
    if isinstance(ids, dict):
        kept[FACT] = {str(row): rid for row, rid in ids.items() if isinstance(rid, str)}
    return kept


def _launch(launch: Launch) -> Launch:
    return replace(
        launch,
        api=_name(launch.api),
        kv_layout=_name(launch.kv_layout),
        arguments={_name(name): _argument(each) for name, each in launch.arguments.items()},
        tensors={_name(name): _tensor(facts) for name, facts in launch.tensors.items()},
    )


def _tables(tables: Tables) -> Tables:
    return replace(tables, request_ids=tuple(map(hashed, tables.request_ids)))


def _tensor(facts: TensorFacts) -> TensorFacts:
    return replace(facts, dtype=_name(facts.dtype), device=_name(facts.device))


def _argument(value: Any) -> Any:
    if isinstance(value, str):
        return value if _ARGUMENT.fullmatch(value) else REMOVED
    return value if value is None or isinstance(value, (bool, int, float)) else REMOVED


def _backend(backend: Backend) -> Backend:
    return replace(
        backend,
        role=_name(backend.role),
        forward_mode=_name(backend.forward_mode),
        swa_state={_name(name): _name(value) for name, value in backend.swa_state.items()},
        pool_class=_name(backend.pool_class),
        init_pool_class=_name(backend.init_pool_class),
    )


def _name(text: str) -> str:
    return text if _NAME.fullmatch(text) else REMOVED


def _texts(value: Any, key: str = "") -> Any:
    """The same without texts that are no plain words; bytes have no place in it.

    What an exception says has a colon or quotes; of our own texts only `_SENTENCES` have.
    """
    if isinstance(value, str):
        return sentence(value) if key in _SENTENCES or _WORDS.fullmatch(value) else REMOVED
    if isinstance(value, dict):
        return {_texts(str(key)): _texts(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_texts(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, np.ndarray, np.generic)):
        return value
    return REMOVED


def _provenance(given: dict[str, Any], identity: bool) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, form in _PLAIN.items():
        value = given.get(name)
        if isinstance(value, str) and form.fullmatch(value):
            kept[name] = value
    for name in _NUMBERS:
        if type(given.get(name)) is int:
            kept[name] = given[name]
    for name in _LISTS:
        if isinstance(given.get(name), list):
            kept[name] = [each for each in map(str, given[name]) if _OURS.fullmatch(each)]
    if isinstance(given.get("command"), str):
        kept["command"] = command_name(given["command"])
    if given.get("probe") is True:
        kept["probe"] = True
    for name, allowed in (("environment", environment), ("server", server_arguments)):
        if isinstance(given.get(name), dict) and (found := allowed(given[name])):
            kept[name] = found
    ranks = given.get("ranks")
    if isinstance(ranks, dict):
        kept["ranks"] = {
            str(name): rank
            for name, rank in ranks.items()
            if type(rank) is int and re.fullmatch(r"[a-z_]{1,20}", str(name))
        }
    versions = given.get("versions")
    if isinstance(versions, dict):
        kept["versions"] = {
            name: versions[name]
            for name in (*PACKAGES, "flashinfer")
            if isinstance(versions.get(name), str) and _VERSION.fullmatch(versions[name])
        }
    minimised = given.get("minimised")
    if isinstance(minimised, dict):
        kept["minimised"] = {
            str(name): value for name, value in minimised.items() if type(value) is int
        }
    if identity:
        kept.update({name: given[name] for name in IDENTITY if isinstance(given.get(name), str)})
    return kept
