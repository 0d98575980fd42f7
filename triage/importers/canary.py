"""kv_canary's violations: which slot holds a token that another wrote.

Its structured line is `kv_canary violation: key=value ...`; a mail or chat client may have
wrapped it. Token ids are dropped: a dump holds none. The tag says which pool the slot counts
in: `..._SWA` slots are SWA slots, translated already; the others are full-pool slots.
"""

from __future__ import annotations

import re
from typing import Any

from triage.dump.observation import Failure, Form, Observation
from triage.importers.lines import Line
from triage.importers.passage import Passage, shown

HEAD = re.compile(r"kv_canary violation:|canary violation detected")
_KEYS = re.compile(
    r"\b(?P<key>launch_tag|kernel_kind|fail_reason|slot_idx|position)=(?P<value>[^\s,()]{1,256})"
)
_NEEDED = ("tag", "reason", "slot", "position")
_STEP = re.compile(r"step_when_pumped=(?P<step>\d{1,12})")
_NAMES = {
    "launch_tag": "tag",
    "kernel_kind": "tag",
    "fail_reason": "reason",
    "slot_idx": "slot",
    "position": "position",
}
MAX_WRAPPED = 8


def parse(passage: Passage, source: str) -> Observation | None:
    """The violation that begins on the passage's first line."""
    lines = [passage.head]
    found = _keys(lines)
    for _, line in passage.following(MAX_WRAPPED):
        if all(name in found for name in _NEEDED) or HEAD.search(line.text):
            break
        lines.append(line)
        found = _keys(lines)
    try:
        values: dict[str, Any] = {
            "tag": found["tag"],
            "reason": found.get("reason", ""),
            "slot": int(found["slot"]),
            "position": int(found["position"]),
            "pool": pool_of(found["tag"]),
        }
    except (KeyError, ValueError):
        return None
    step = _STEP.search(passage.joined(14, until=HEAD))
    if step is not None:
        values["step"] = int(step["step"])
    return Observation(
        Form.CANARY,
        Failure.CANARY,
        source,
        passage.head.number,
        passage.logged_rank,
        passage.head.time,
        values=values,
        text=tuple(_without_tokens(line) for line in shown(lines)),
    )


def pool_of(tag: str) -> str:
    """ "swa" or "full": the pool that the slot of a tag counts in."""
    return "swa" if tag.upper().endswith("_SWA") else "full"


def _keys(lines: list[Line]) -> dict[str, str]:
    """Keys and values over lines that a client may have wrapped, between words or inside one."""
    spaced, close = lines[0].text, lines[0].text
    for line in lines[1:]:
        text = line.text.strip()
        first = text.split(" ")[0] if text else ""
        # A value goes on where the next line begins with neither a space nor a key.
        inside = bool(first) and "=" not in first and line.text == text
        spaced += text if inside and spaced[-1:].isalnum() else f" {text}"
        close += text if line.text == text else f" {text}"
    found: dict[str, str] = {}
    for joined in (spaced, close):
        for match in _KEYS.finditer(joined):
            found.setdefault(_NAMES[match["key"]], match["value"].rstrip(".;"))
    return found


def _without_tokens(text: str) -> str:
    return re.sub(r"\b(stored_token|expected_token|token_id)=\S+", r"\1=...", text)
