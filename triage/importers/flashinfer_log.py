"""FlashInfer's API log (FLASHINFER_LOGLEVEL 1 to 5): calls with the shapes of their tensors.

It holds no values: at level 3 shapes and types, at level 5 the least and the greatest too.
What a call read is in a level-10 directory only.
"""

from __future__ import annotations

import re
from typing import Any

from triage.dump.observation import Failure, Form, Observation
from triage.importers.passage import Passage, shown

HEAD = re.compile(r"FlashInfer (?:API )?Call: (?P<name>[\w.]{1,120})")
_ARGUMENT = re.compile(r"^\s{1,6}(?P<name>[a-z_]\w{0,60})=(?P<rest>.{0,200})$")
_POSITIONAL = re.compile(r"^\s{1,6}arg\[(?P<index>\d{1,3})\](?::|=)?\s?(?P<rest>.{0,200})$")
_FIELD = re.compile(
    r"^\s{1,12}(?P<name>shape|stride|dtype|device|min|max|mean|std|nan|nan_count|inf_count|requires_grad"
    r"|is_contiguous|data_ptr)=(?P<value>.{1,200}?),?$"
)
_ATTENTION = {
    "trtllm_batch_decode_with_kv_cache": True,
    "trtllm_batch_context_with_kv_cache": True,
}
_OTHER_ATTENTION = re.compile(r"decode|prefill|attention|xqa|mla|context", re.IGNORECASE)
MAX_CALL_LINES = 400


def covered(name: str) -> bool:
    """Is it one of the two calls that dumps are of?"""
    return name.rpartition(".")[2] in _ATTENTION


def attention(name: str) -> bool:
    return covered(name) or bool(_OTHER_ATTENTION.search(name))


def parse(passage: Passage, source: str) -> tuple[Observation, int]:
    """One call, and the index of its last line."""
    head = HEAD.search(passage.head.text)
    assert head is not None
    name = head["name"]
    arguments: dict[str, Any] = {}
    current, last, lines = "", passage.at, [passage.head]
    for index, line in passage.following(MAX_CALL_LINES):
        text = line.text
        if HEAD.search(text) or text.startswith(("Traceback", "=========")):
            break
        last = index
        if len(lines) < 8:
            lines.append(line)
        argument = _ARGUMENT.match(text) or _POSITIONAL.match(text)
        field = _FIELD.match(text)
        if field is not None and current:
            slot = arguments.setdefault(current, {})
            if isinstance(slot, dict):
                slot[field["name"]] = _value(field["value"])
        elif argument is not None:
            current = argument.groupdict().get("name") or f"arg_{argument['index']}"
            if argument["rest"].strip() and not argument["rest"].strip().endswith("("):
                arguments[current] = _value(argument["rest"].strip())
            else:
                arguments.setdefault(current, {})
        elif current and arguments.get(current) == {} and text.strip() and "(" not in text:
            arguments[current] = _value(text.strip())
    values = {
        "call": name,
        "attention": attention(name),
        "covered": covered(name),
        "arguments": {key: value for key, value in arguments.items() if value != {}},
    }
    return (
        Observation(
            Form.CALL,
            Failure.CALL,
            source,
            passage.head.number,
            passage.rank,
            passage.head.time,
            values=values,
            text=shown(lines),
        ),
        last,
    )


def _value(text: str) -> Any:
    if re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"\([\d,\s-]{0,120}\)", text):
        return [int(part) for part in re.findall(r"-?\d{1,18}", text)]
    if re.fullmatch(r"-?\d{1,18}\.\d{1,18}(?:e[+-]?\d{1,3})?", text):
        return float(text)
    return text[:80]
