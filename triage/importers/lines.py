"""Lines of a log as the recognisers want them: clean text, whose line it is, and when.

The failure: a line that a terminal coloured, a container runtime, `kubectl`, journald, Ray or
a mail client prefixed is not the line that a tool wrote. The rule: whatever others put
around it is taken off and kept as rank and time; the text itself is not changed.

A line is cut at MAX_LINE characters, so no pattern sees more; each prefix is one anchored
pattern without nested repetition, so a line costs a bounded number of steps.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

MAX_LINE = 4096

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)|[@-Z\\-_])"
)
_BLANKS = dict.fromkeys(map(ord, "\u00a0\u2007\u2009\u202f\u3000"), " ")
"""Spaces of a web page or a chat, which no tool writes."""

_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&nbsp;": " ", "&amp;": "&"}
"""What a web page's source writes for characters of a report; the last one last."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\u200b]")

_RANKS = r"(?:[A-Z_]{1,12}\d{1,5})(?: [A-Z_]{1,12}\d{1,5}){0,7}"
_DATE = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"

_SGLANG = re.compile(rf"\[(?P<time>{_DATE})(?: (?P<rank>{_RANKS}))?\]:?\s?")
_PREFIXES: tuple[re.Pattern[str], ...] = (
    re.compile(r"(?:>\s?){1,8}"),  # a quoted mail
    re.compile(r"\+\s?(?=={8}|\[\d{4}-|NVRM: )"),  # a diff
    re.compile(r"\[pod/[^\]\s]{1,200}\]\s"),
    re.compile(rf"(?P<time>{_DATE})\s(?:stdout|stderr)\s[FP]\s"),  # containerd
    re.compile(r"(?P<container>[A-Za-z0-9][\w.-]{0,63})\s{1,16}\|\s?"),  # docker compose
    re.compile(
        r"[A-Z][a-z]{2}\s{1,2}\d{1,2} \d\d:\d\d:\d\d \S{1,64} "
        r"[\w.@:/()-]{1,64}(?:\[(?P<pid>\d{1,10})\])?: "
    ),  # syslog, journald
    re.compile(r"\((?P<rank>(?:Worker|VllmWorker|EngineCore|DPCoordinator|APIServer)[\w ]{0,32}"
               r"(?:TP|DP|PP|EP|rank=)?\d{0,5}[\w ]{0,16})[^()\n]{0,60}pid=(?P<pid>\d{1,10})"
               r"[^()\n]{0,60}\)\s?"),
    re.compile(r"\([\w.:]{1,64}[^()\n]{0,60}pid=(?P<pid>\d{1,10})[^()\n]{0,60}\)\s?"),  # Ray
    re.compile(r"\[rank(?P<torch>\d{1,5})\]:\s?"),
    re.compile(r"\[\d{1,4},(?P<torch>\d{1,5})\]\s?(?:<std\w{2,3}>)?:?\s?"),  # mpirun
    re.compile(r"(?P<torch>\d{1,5}):\s(?=\S)"),  # srun --label
    re.compile(rf"\[(?P<time>{_DATE})\]\s?(?=\S)"),
    re.compile(rf"(?P<time>{_DATE})\s-?\s?(?=\S)"),
    re.compile(
        r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]\n]{1,80}\] "
    ),
)  # fmt: skip
_COUNTED = re.compile(
    r"(?P<file>[\w./@+~-]{1,200}?)[:-]\d{1,8}[:-]"  # grep -n over files
    r"|(?P<bare>\d{1,8})[:-](?=\S)"  # grep -n
    r"|\s{0,7}\d{1,8}(?:\s{2,8}|\s?[|\u2502]\s?)"  # cat -n, nl, bat
)
_SURE = re.compile(
    r"={8}|\[\d{4}-\d\d-\d\d|NVRM: |CUDA |Traceback \(|kv_canary |\[rank\d|TMA Desc|torch\.|Runtime"
)
"""How lines of the tools begin: what stands before one of these is a number of the line."""

_DMESG = re.compile(r"\[\s{0,8}(?P<seconds>\d{1,9}\.\d{3,9})\]\s")
_DMESG_DATE = re.compile(
    r"\[(?P<when>[A-Z][a-z]{2} [A-Z][a-z]{2}\s{1,2}\d{1,2} \d\d:\d\d:\d\d \d{4})\]\s"
)
_TORCH_ERROR = re.compile(
    r"\[[EWIF](?P<month>\d{1,2})(?P<day>\d\d) (?P<clock>\d\d:\d\d:\d\d\.\d{1,9}) "
    r"[^\]\n]{1,120}\]\s?"
)
YEARLESS = 1972
"""The year of stamps that have none: a leap year, and so long ago that no log is of it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `rank` is the line's own, `since` that of the last line that had one."""

    number: int
    text: str
    rank: str = ""
    since: str = ""
    time: float | None = None
    header: bool = False  # it begins a record of a logger, so it continues no line before it


class Reader:
    """Makes `Line`s of raw text, one after the other; keeps whose the last one was."""

    def __init__(self) -> None:
        self._rank = ""
        self._time: float | None = None
        self._counted: str | None = None  # how lines are numbered, once that is sure

    def _uncounted(self, text: str) -> str:
        """Without the file and number that grep, cat -n or a viewer put before each line.

        Only once a line that begins as a tool's does has shown that they are numbered so.
        """
        found = _COUNTED.match(text)
        if found is None:
            return text
        how = found["file"] or ("bare" if found["bare"] else "column")
        if self._counted != how:
            if not _SURE.match(text, found.end()):
                return text
            self._counted = how
        return text[found.end() :]

    def line(self, number: int, raw: str) -> Line:
        raw, rank, time = _of_json(raw)
        text = self._uncounted(clean(raw))
        header, finer = False, time is not None and not time.is_integer()
        for _ in range(5):
            found = _SGLANG.match(text)
            if found is not None:
                rank = found["rank"] or rank
                header = True
                if not finer:
                    time = _seconds(found["time"])
                text = text[found.end() :]
                continue
            taken = _prefix(text)
            if taken is None:
                break
            text, its_rank, its_time = taken
            rank = its_rank or rank
            time = time if its_time is None else its_time
            finer = finer or (its_time is not None and not its_time.is_integer())
        if header or rank:
            # A logger's record without a rank ends the one before it.
            self._rank = rank or ("" if header else self._rank)
            self._time = time if time is not None else self._time
        return Line(number, text, rank, self._rank, time if header else time or self._time, header)


_JSON_TEXT = ("log", "message", "msg")
_JSON_TIME = ("ts", "time", "timestamp", "@timestamp")
_JSON_RANK = ("rank", "proc", "process", "worker")
_RANK_NAME = re.compile(r"(?:(?:TP|DP|PP|EP|DCP)\d{1,5} ?){1,5}", re.IGNORECASE)


def _of_json(raw: str) -> tuple[str, str, float | None]:
    """(text, rank, time) of a line that a container runtime or a logger wrote as JSON.

    The line itself where it is none. A rank is taken only where it is named as SGLang names it.
    """
    if not raw.startswith("{") or len(raw) > 4 * MAX_LINE:
        return raw, "", None
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return raw, "", None
    if not isinstance(record, dict):
        return raw, "", None

    def first(keys: tuple[str, ...]) -> str:
        return next((found for key in keys if isinstance(found := record.get(key), str)), "")

    rank = first(_JSON_RANK).strip()
    text = first(_JSON_TEXT).rstrip("\n")
    if not text:
        return raw, "", None
    return text, rank.upper() if _RANK_NAME.fullmatch(rank) else "", _seconds(first(_JSON_TIME))


def clean(raw: str) -> str:
    """Without escapes and control characters, cut at MAX_LINE."""
    text = raw[:MAX_LINE]
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    if "&" in text and ";" in text:
        for entity, character in _ENTITIES.items():
            text = text.replace(entity, character)
    if not text.isprintable():
        text = text.translate(_BLANKS).replace("\t", "    ")
        text = _CONTROL.sub("", text.rpartition("\r")[2] or text)
    return text.rstrip()


def _prefix(text: str) -> tuple[str, str, float | None] | None:
    """(rest, rank, time) where the line begins with something that another tool put there."""
    if not text:
        return None
    found = _DMESG.match(text)
    if found is not None:
        return text[found.end() :], "", float(found["seconds"])
    found = _DMESG_DATE.match(text)
    if found is not None:
        return text[found.end() :], "", _dmesg_date(found["when"])
    found = _TORCH_ERROR.match(text)
    if found is not None:
        return text[found.end() :], "", _of_this_year(found)
    for pattern in _PREFIXES:
        found = pattern.match(text)
        if found is None or not found.end():
            continue
        given = found.groupdict()
        rank = ""
        if given.get("torch"):
            rank = f"rank {int(given['torch'])}"
        elif given.get("rank"):
            rank = given["rank"].strip()
            if given.get("pid") and not re.search(r"\d", rank):  # many workers have one name
                rank = f"{rank} pid {int(given['pid'])}"
        elif given.get("pid"):
            rank = f"pid {int(given['pid'])}"
        time = _seconds(given["time"]) if given.get("time") else None
        return text[found.end() :], rank, time
    return None


def _seconds(text: str) -> float | None:
    text = text.replace(",", ".").replace("Z", "+00:00")
    head, dot, rest = text.partition(".")
    if dot:  # nanoseconds are more than fromisoformat takes
        digits = re.match(r"\d*", rest)
        assert digits is not None
        text = f"{head}.{digits[0][:6]}{rest[len(digits[0]) :]}"
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _of_this_year(found: re.Match[str]) -> float | None:
    """Of torch's stamp: month, day and clock; to be compared with others of the kind only."""
    month, day = int(found["month"]), found["day"]
    return _seconds(f"{YEARLESS}-{month:02d}-{day} {found['clock']}")


def _dmesg_date(text: str) -> float | None:
    try:
        when = datetime.strptime(" ".join(text.split()), "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None
    return when.replace(tzinfo=UTC).timestamp()
