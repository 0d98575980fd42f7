"""compute-sanitizer's reports: which kernel, which access, and the nearest allocation.

Forms of CUDA 11.6 to 13: "Access to ... is out of bounds" and the older "Address ...";
kernels as `name+off`, `name(args)+off in file:line`, `off in file:line:name`. A kind that the
tool has and this list has not is reported as unknown, with its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from triage.dump.observation import Access, Failure, Form, Observation
from triage.importers.lines import Line
from triage.importers.passage import Passage, shown

_INVALID = re.compile(
    r"Invalid (?:__(?P<space>\w{1,16})__ )?(?P<access>read|write|atomic)"
    r"(?: of size (?P<size>\d{1,6}))?",
    re.IGNORECASE,
)
_KINDS: tuple[tuple[re.Pattern[str], Failure, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), failure, space)
    for pattern, failure, space in (
        (r"(?:Warp|Lane|Device) illegal address", Failure.ILLEGAL_ADDRESS, ""),
        (r"out.of.range shared or local address", Failure.OUT_OF_RANGE_SHARED, "shared"),
        (r"(?:Warp|Lane) out.of.range address", Failure.OUT_OF_RANGE_SHARED, "shared"),
        (r"misaligned (?:address|shared)", Failure.MISALIGNED, ""),
        (r"illegal instruction", Failure.ILLEGAL_INSTRUCTION, ""),
        (r"hardware stack|stack overflow|user stack", Failure.HARDWARE_STACK, ""),
        (r"race reported|race condition|(?:Potential )?\w{0,8} ?hazard", Failure.RACE, "shared"),
        (r"uninitialized (?:__global__ )?memory read", Failure.UNINITIALISED, "global"),
        (r"barrier error", Failure.BARRIER, ""),
        (r"device.side assert|\bassert", Failure.ASSERT, ""),
    )
)
_SIZE = re.compile(r"memory read of size (?P<size>\d{1,6})")
_LEVEL = re.compile(r"^(?:Error|Warning|Info): (?:\([\w ]{1,40}\) )?(?=Race|Warp|Potential|Uninit)")
_API = re.compile(
    r"Program hit (?P<name>\w{1,64}) \(error (?P<code>\d{1,4})\)"
    r"(?: due to \"(?P<why>[^\"]{1,200})\")?(?: on (?:CUDA API|\w+) call to (?P<call>\w{1,64}))?"
)
_AT = re.compile(r"^(?:(?:Read|Write) Thread \([\d, ]{1,40}\) )?at (?P<what>.+)$")
_PLACE = re.compile(
    r"^(?:0x[0-9a-f]+ in )(?P<file>[^\s:()]{1,300}):(?P<line>\d{1,7})(?::(?P<name>.+))?$"
)
_IN_FILE = re.compile(r" in (?P<file>[^\s()]{1,300}:\d{1,7})$")
_OFFSET = re.compile(r"\+0x[0-9a-fA-F]{1,10}$")
_ADDRESS = re.compile(
    r"(?:Access (?:to|at)|Address) (?P<address>0x[0-9a-fA-F_]{2,20}) is (?P<how>[a-z ]{2,40})"
)
_NEAREST = re.compile(
    r"and is (?:(?P<distance>[\d,]{1,30}) bytes )?(?P<side>after|before|inside|within)"
    r"(?: of)?(?: the)?(?: nearest)? allocation(?: at (?P<base>0x[0-9a-fA-F]{2,20}))?"
    r"(?: of size (?P<size>[\d,]{1,30}))?"
)
_THREAD = re.compile(r"^by thread \(")
_HOST = re.compile(r"Host Frame:\s?(?P<name>[^\[\s][^\[]{0,160}?)\s*(?:\[0x|$)")
_BAR = re.compile(r"^={5,12}\s?")
_END = re.compile(r"ERROR SUMMARY|LEAK SUMMARY|RACECHECK SUMMARY|COMPUTE-SANITIZER")


def is_head(text: str) -> bool:
    """Does a report begin here?"""
    barred = _BAR.match(text)
    body = _body(text[barred.end() :] if barred else text)
    if _INVALID.match(body) or _API.match(body):
        return True
    return bool(barred) and any(pattern.match(body) for pattern, _, _ in _KINDS)


def is_new(passage: Passage) -> bool:
    """A report of a kind that is not listed here: a sentence, then the kernel it was seen in."""
    text = passage.head.text
    bar = _BAR.match(text)
    if bar is None or not re.match(r"[A-Z][a-z]", text[bar.end() :]) or _END.search(text):
        return False
    _, after = next(passage.following(), (0, None))
    inner = after is not None and _BAR.match(after.text)
    return bool(
        after and inner and re.match(r"at .+\+0x[0-9a-f]", after.text[inner.end() :].strip())
    )


def _body(text: str) -> str:
    """What a line says behind its bar; racecheck says how bad it is first."""
    return _LEVEL.sub("", text.strip())


def is_rest(passage: Passage) -> bool:
    """An access whose report's first lines are not in the text."""
    text = passage.head.text
    if not _BAR.match(text) or not _ADDRESS.match(_BAR.sub("", text).strip()):
        return False
    return not any(is_head(line.text) for line in _before(passage, 60))


def _before(passage: Passage, limit: int) -> Iterator[Line]:
    """The lines before the first that are of the same rank, the newest first."""
    for line in reversed(passage.lines[max(passage.at - limit, 0) : passage.at]):
        if line.rank == passage.head.rank:
            yield line


def parse_rest(passage: Passage, source: str) -> Observation:
    """What `is_rest` found: an address, and neither kernel nor kind of access."""
    details = _details([_BAR.sub("", passage.head.text).strip(), *_logical(passage)[0][1:]])
    misaligned = str(details.get("how", "")).startswith("misaligned")
    return Observation(
        Form.SANITIZER,
        Failure.MISALIGNED if misaligned else Failure.ILLEGAL_ADDRESS,
        source,
        passage.head.number,
        passage.rank,
        passage.head.time,
        address=details.get("address"),
        nearest=details.get("nearest"),
        text=shown([passage.head]),
    )


def _mixed(passage: Passage, logical: list[str]) -> bool:
    """Are these lines those of two reports, of processes that wrote at the same time?

    Then no line tells which kernel belongs to which address.
    """
    of_a_race = re.compile(r"^(?:Read|Write) Thread")  # a race has a place for each of its two
    own = [text for text in logical if not of_a_race.match(text)]
    for pattern in (_AT, _THREAD, _ADDRESS):
        if sum(bool(pattern.match(text)) for text in own) > 1:
            return True
    for line in _before(passage, 24):
        body = _body(_BAR.sub("", line.text))
        if _ADDRESS.match(body) or _END.search(body) or not _BAR.match(line.text):
            return False
        if _INVALID.match(body):  # the report before has no address yet
            return True
    return False


def parse(passage: Passage, source: str) -> Observation:
    """The report that begins at the passage's first line."""
    logical, raw = _logical(passage)
    head = logical[0]
    mixed = _mixed(passage, logical)
    details = {} if mixed else _details(logical[1:])
    api = _API.match(head)
    if api is not None:
        illegal = api["code"] in ("700", "716", "717")
        values: dict[str, Any] = {"error": api["name"], "call": api["call"] or ""}
        return Observation(
            Form.CUDA_ERROR,
            Failure.ILLEGAL_ADDRESS if illegal else Failure.OTHER_CUDA,
            source,
            passage.head.number,
            passage.rank,
            passage.head.time,
            values=values | {"sanitizer": True},
            text=shown(raw),
        )
    failure, access, space, size = _kind(head)
    if details.get("how", "").startswith("misaligned"):
        failure = Failure.MISALIGNED
    return Observation(
        Form.SANITIZER,
        failure,
        source,
        passage.head.number,
        passage.rank,
        passage.head.time,
        kernel=details.get("kernel", ""),
        kernel_at=details.get("kernel_at", ""),
        access=access,
        space=space,
        address=details.get("address"),
        access_bytes=size,
        nearest=details.get("nearest"),
        values={"mixed": True}
        if mixed
        else {"host": host}
        if (host := details.get("host"))
        else {},
        text=shown(raw),
    )


def _kind(head: str) -> tuple[Failure, Access, str, int | None]:
    found = _INVALID.match(head)
    if found is not None:
        kind = found["access"].lower()
        access = Access.READ if kind == "read" else Access.WRITE
        space = (found["space"] or "global").lower()
        failure = {
            "shared": Failure.OUT_OF_RANGE_SHARED,
            "local": Failure.OUT_OF_RANGE_LOCAL,
        }.get(space, Failure.ILLEGAL_ADDRESS)
        return failure, access, space, int(found["size"]) if found["size"] else None
    for pattern, failure, space in _KINDS:
        if pattern.match(head):
            size = _SIZE.search(head)
            read = Access.READ if failure is Failure.UNINITIALISED else Access.UNKNOWN
            return failure, read, space, int(size["size"]) if size else None
    return Failure.UNKNOWN, Access.UNKNOWN, "", None


def _logical(passage: Passage) -> tuple[list[str], list[Line]]:
    """The report's lines without their bar; a line that lost it to wrapping joins the last."""
    barred = bool(_BAR.match(passage.head.text))
    logical = [_body(_BAR.sub("", passage.head.text))]
    raw = [passage.head]
    for _, line in passage.following(60):
        text = line.text.strip()
        if is_head(line.text) or _END.search(text):
            break
        bar = _BAR.match(text)
        body = text[bar.end() :].strip() if bar else text
        if bar or not barred:
            logical.append(body)
        elif body and len(raw) < 40 and _wrapped(logical[-1], body):
            logical[-1] = f"{logical[-1]} {body}"
        elif not body:
            continue
        else:
            break
        raw.append(line)
    return logical, raw


def _wrapped(before: str, body: str) -> bool:
    """Does `body` go on with the line before it? Text of other tools does not."""
    return bool(before) and not re.match(r"(?:Traceback|File |\[|CUDA|#\d)", body)


def _details(lines: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    hosts: list[str] = []
    for text in lines:
        if (at := _AT.match(text)) and "kernel" not in found:
            found["kernel"], found["kernel_at"] = _kernel(at["what"].strip())
        if (address := _ADDRESS.search(text)) and "address" not in found:
            found["address"] = int(address["address"].replace("_", ""), 16)
            found["how"] = address["how"]
        if (near := _NEAREST.search(text)) and "nearest" not in found:
            found["nearest"] = _nearest(near)
        if (host := _HOST.search(text)) and len(hosts) < 4:
            hosts.append(host["name"].strip())
    if hosts:
        found["host"] = hosts
    return found


def _nearest(found: re.Match[str]) -> dict[str, Any]:
    def number(name: str) -> int | None:
        return int(found[name].replace(",", "")) if found[name] else None

    return {
        "address": int(found["base"], 16) if found["base"] else None,
        "bytes": number("size"),
        "distance": number("distance"),
        "side": found["side"],
    }


def _kernel(what: str) -> tuple[str, str]:
    """(name, file:line) of an "at" line."""
    place = _PLACE.match(what)
    if place is not None:
        return (place["name"] or "").strip()[:400], f"{place['file']}:{place['line']}"
    at = ""
    where = _IN_FILE.search(what)
    if where is not None:
        at, what = where["file"], what[: where.start()]
    what = re.sub(r"^0x[0-9a-f]+ in ", "", what)
    return _OFFSET.sub("", what.strip())[:400], at
