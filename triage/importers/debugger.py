"""cuda-gdb, live and over a core dump, and the text of a CUDA core dump's analysis.

What is told varies: the exception alone, the PC, the kernel's signature, a source line, and
only sometimes the address and the faulting instruction. The instruction tells read from
write where the text does not.
"""

from __future__ import annotations

import re
from typing import Any

from triage.dump.observation import Access, Failure, Form, Observation
from triage.importers.passage import Passage, shown

HEAD = re.compile(
    r"CUDA [Ee]xception:?\s{1,4}(?P<name>[A-Z][\w -]{3,60})"
    r"|CUDA_EXCEPTION_(?P<number>\d{1,3})\b,?\s{0,3}(?P<signal>[A-Z][\w -]{3,60})?"
)
_FAILURES: tuple[tuple[re.Pattern[str], Failure], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), failure)
    for pattern, failure in (
        (r"illegal address", Failure.ILLEGAL_ADDRESS),
        (r"out.of.range", Failure.OUT_OF_RANGE_SHARED),
        (r"misaligned", Failure.MISALIGNED),
        (r"illegal instruction|invalid pc|invalid address space", Failure.ILLEGAL_INSTRUCTION),
        (r"stack", Failure.HARDWARE_STACK),
        (r"assert", Failure.ASSERT),
    )
)
_BY_NUMBER = {
    1: Failure.ILLEGAL_ADDRESS,
    2: Failure.HARDWARE_STACK,
    3: Failure.HARDWARE_STACK,
    4: Failure.ILLEGAL_INSTRUCTION,
    5: Failure.OUT_OF_RANGE_SHARED,
    6: Failure.MISALIGNED,
    7: Failure.ILLEGAL_INSTRUCTION,
    8: Failure.ILLEGAL_INSTRUCTION,
    9: Failure.HARDWARE_STACK,
    10: Failure.ILLEGAL_ADDRESS,
    11: Failure.MISALIGNED,
    12: Failure.ASSERT,
    14: Failure.ILLEGAL_ADDRESS,
    15: Failure.ILLEGAL_ADDRESS,
}
_ADDRESS = re.compile(
    r"(?:(?P<kind>store|load|write|read|atomic)\s{1,3})?"
    r"(?:illegal address(?: detected)? at|illegal access to address|errorAddress"
    r"|fault(?:ing)? address:?|\baddress:?|access (?:at|to))\s{0,4}=?\s{0,4}"
    r"(?:\(@(?P<space>\w{1,16})\)\s{0,4})?(?P<address>0x[0-9a-fA-F_]{4,20})",
    re.IGNORECASE,
)
_PC = re.compile(r"triggered at PC\s{1,4}(?P<pc>0x[0-9a-fA-F]{4,20})\s{0,8}(?P<rest>.{0,600})$")
_PLACED = re.compile(
    r"(?P<name>\S.{0,400}?)\s{1,4}\(?(?P<at>[^\s()]{1,300}\.(?:cuh?|py|h):\d{1,7})$"
)
"""Behind the PC: the kernel, and the line of the PC itself. Frame 0 may stand behind it."""
_FOCUS = re.compile(r"Current focus set to .{0,200}?\b(?P<where>block \(.{0,120}?device \d{1,3})\b")
_IN_KERNEL = re.compile(r"triggered in kernel (?P<name>[^\s(]{1,400})")
_FRAME = re.compile(
    r"^(?:#\d{1,3}\s{1,4})?(?:0x[0-9a-fA-F]{4,20} in )?(?P<name>(?:[a-z_]{1,12} )?[\w:~]{1,400}"
    r"(?:[<(][^\n`]{0,600}?)?)<<<"
)
_NAMED = re.compile(
    r"(?:[Ff]aulting|[Ff]ailing) kernel(?: was| is)?:?\s{0,4}"
    r"(?:`(?P<name>[^`]{3,400})`|(?P<bare>\w{0,200}(?:_|[Kk]ernel)\w{0,200})|$)"
)
"""How people tell it: the name in marks of code, on that line or the next that is not empty."""
_FRAME_0 = re.compile(r"^#0\s{1,4}(?:0x[0-9a-fA-F]{4,20} in )?(?P<name>[^\s(<][^(<]{0,400})\s?\(")
_AT = re.compile(r"(?:^|\s)at (?P<at>[^\s:()]{1,300}:\d{1,7})\b")
_INSTRUCTION = re.compile(r"\b(?P<op>[A-Z]{2,8}(?:\.[A-Z0-9_]{1,12}){0,8})\s")
_WRITES = ("ST", "STG", "RED", "ATOM", "ATOMG", "UTMASTG", "UBLKRED", "UTMAREDG", "STL", "STS")
_READS = ("LD", "LDG", "LDGSTS", "UTMALDG", "UBLKCP", "LDS", "LDL", "LDGDEPBAR", "LDSM")
_SHARED = ("STS", "LDS", "ATOMS", "LDSM")
_MARKED = re.compile(r"(?:=>|\*>|Faulting instruction|\$errorpc)")


def parse(passage: Passage, source: str) -> tuple[Observation, int]:
    """The report at the passage's first line, and the index of its last line."""
    head = HEAD.search(passage.head.text)
    assert head is not None
    lines, last = [passage.head], passage.at
    for index, line in passage.following(40):
        again = HEAD.search(line.text)
        if again and (len(lines) > 8 or _other(head, again)):
            break
        if line.text.startswith(("=========", "Traceback", "NVRM")):
            break
        lines.append(line)
        last = index
    core = any("GPU coredump" in line.text for line in _before(passage)) or any(
        "coredump" in line.text.lower() for line in lines
    )
    found: dict[str, Any] = {}
    if told := (head["name"] or head["signal"] or "").strip():
        found["exception"] = told
    for position, line in enumerate(lines):
        after = lines[position + 1].text if position + 1 < len(lines) else ""
        later = next((each.text for each in lines[position + 1 :] if each.text.strip()), "")
        _look(line.text, after, later, found)
    space = found.get("space", "")
    failure = _failure(head)
    if failure is Failure.DEVICE_EXCEPTION and "address" in found:
        failure = Failure.ILLEGAL_ADDRESS
    return (
        Observation(
            Form.CORE if core else Form.DEBUGGER,
            failure,
            source,
            passage.head.number,
            passage.rank,
            passage.head.time,
            kernel=found.get("kernel", "")[:400],
            kernel_at=found.get("at", ""),
            access=found.get("access", Access.UNKNOWN),
            space=space,
            address=found.get("address"),
            values={name: found[name] for name in ("pc", "exception", "where") if name in found},
            text=shown(lines),
        ),
        last,
    )


def _before(passage: Passage) -> list[Any]:
    return list(passage.lines[max(passage.at - 6, 0) : passage.at])


def _other(first: re.Match[str], second: re.Match[str]) -> bool:
    """Two exceptions, not one that is told twice?"""
    names = [(each["name"] or each["signal"] or "").strip().lower() for each in (first, second)]
    return bool(names[0] and names[1]) and names[0] != names[1]


def _failure(head: re.Match[str]) -> Failure:
    if head["number"] and int(head["number"]) in _BY_NUMBER:
        return _BY_NUMBER[int(head["number"])]
    name = head["name"] or head["signal"] or ""
    for pattern, failure in _FAILURES:
        if pattern.search(name):
            return failure
    return Failure.DEVICE_EXCEPTION


def _look(text: str, after: str, later: str, found: dict[str, Any]) -> None:
    """after: the next line; later: the next that is not empty."""
    if (pc := _PC.search(text)) and "pc" not in found:
        found["pc"] = pc["pc"]
        rest = pc["rest"].strip(" ()")
        name = rest or (after.strip() if after.startswith((" ", "\t")) else "")
        placed = _PLACED.match(name)
        if placed is not None:
            name, found["at"] = placed["name"].strip(), placed["at"]
        if name and not re.match(r"[^\s]+\.(?:cu|cuh|py|h):\d+$", name):
            found.setdefault("signature", name)
            found.setdefault("kernel", name)
        elif name:
            found.setdefault("at", name)
    if focus := _FOCUS.search(text):
        found.setdefault("where", focus["where"])
    if named := _NAMED.search(text):
        told = named["name"] or named["bare"] or _code(later)
        if told:
            found.setdefault("kernel", told.strip())
    for pattern in (_IN_KERNEL, _FRAME, _FRAME_0):
        if (frame := pattern.search(text)) and "frame" not in found:
            found["frame"] = frame["name"].strip()
            found.setdefault("kernel", found["frame"])
    if (at := _AT.search(text)) and "at" not in found:
        found["at"] = at["at"]
    if (address := _ADDRESS.search(text)) and "address" not in found:
        found["address"] = int(address["address"].replace("_", ""), 16)
        if address["space"]:
            found["space"] = address["space"].lower()
        kind = (address["kind"] or "").lower()
        if kind:
            found["access"] = Access.READ if kind in ("load", "read") else Access.WRITE
    if _MARKED.search(text):
        marked = text if _INSTRUCTION.search(text) else later
        for match in _INSTRUCTION.finditer(marked):
            op = match["op"].split(".")[0]
            if op in _WRITES or op in _READS:
                found.setdefault("access", Access.WRITE if op in _WRITES else Access.READ)
                if op in _SHARED:
                    found.setdefault("space", "shared")


def _code(text: str) -> str:
    """What stands in marks of code; empty where that is not one name."""
    told = re.fullmatch(r"`([^`]{3,400})`", text.strip())
    return told[1].strip() if told is not None else ""
