"""What SGLang itself says: exceptions of the scheduler, assertions, and its pool sums.

A pool sum is SGLang's own balance: available + evictable + protected + session_held +
uncached should be the total. Short of it pages are lost, above it they are counted twice.
Its sentence "leak detected" is printed for both, so the numbers decide.

Long because it is one list: a pattern per sentence of SGLang, and what it stands for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from triage.dump.observation import Failure, Form, Observation
from triage.importers.cuda_error import descriptor_failure, failure_of, library_of, tma_code
from triage.importers.lines import Line
from triage.importers.passage import Passage, shown

LEAK_HEAD = re.compile(r"[Ll]eak [Dd]etected|use-after-free|Mem Check \((?:BUSY|IDLE)\)")
_SUM = re.compile(r"\[(?P<pool>[a-z][\w-]{0,30})\]\s{0,3}(?P<terms>total=\d[^\[\n]{0,300})")
_TERM = re.compile(r"\b(?:self\.)?(?P<name>[a-z_]{3,40})\s?=\s?(?P<value>-?\d{1,15})\b")
_FORMATTED = re.compile(r"\{[a-z_]")  # a field of a source line; a set of pages has digits
_PARTS = {
    "available": "available",
    "available_size": "available",
    "full_available_size": "available",
    "evictable": "evictable",
    "evictable_size": "evictable",
    "protected": "protected",
    "protected_size": "protected",
    "session_held": "session_held",
    "uncached": "uncached",
}
_TOTALS = ("total", "max_total_num_tokens", "total_size", "full_num_used")
_PER_POOL = re.compile(
    r"\b(?:\w{1,40}\.){0,3}(?P<pool>full|swa|mamba)_(?P<part>available|evictable|protected)_size"
    r"(?:\(\))?=(?P<value>\d{1,15})\b"
)
_PER_POOL_TOTAL = re.compile(
    r"\b(?:self\.)?(?:(?P<layer>full|swa)_tokens_per_layer|(?:\w{1,40}\.){0,2}(?P<mamba>mamba)_pool"
    r"\.size|token_to_kv_pool_allocator\.size)=(?P<value>\d{1,15})\b"
)
"""SGLang before 0.5.12 wrote one line for a pool, each term with the pool's name in it."""
_PAGES = re.compile(r"sample pages=\[(?P<pages>[\d,\s]{0,200})\]")
_REFS = re.compile(r"use-after-free: (?P<count>\d{1,12})")

_OF_CUDA = re.compile(r"CUDA|cuda|Triton Error|CUBLAS|OutOfResources|Missing TRTLLM-GEN")
_POOL_FULL = re.compile(
    r"(?:Prefill|Decode) out of memory|KV cache is full|[Bb]ug in memory estimation"
)
MOST_TRACE_LINES = 240  # hooks between SGLang's own functions make a traceback twice as long
TRACE_HEAD = re.compile(r"Traceback \(most recent call last\)")
_FRAME = re.compile(
    r'^\s{1,8}File "(?P<file>[^"]{1,300})", line (?P<line>\d{1,7}), in (?P<name>\S{1,120})'
)
_ERROR = re.compile(r"^(?P<type>[A-Za-z_][\w.]{2,120})(?:: (?P<text>.*))?$")
_HOOKS = re.compile(r"/triage/sglang/|/sglang/srt/plugins/hook_registry\.py$")
"""What a hook puts between two functions of SGLang, this tool's or another plugin's."""
_SIZES = re.compile(
    r"The size of tensor a \((?P<into>\d{1,12})\) must match the size of tensor b "
    r"\((?P<of>\d{1,12})\) at non-singleton dimension 0$"
)
_TREE_FILES = ("radix_cache", "radix_tree", "unified_cache", "mem_cache")
_ENTRY = re.compile(
    r"trtllm_\w{0,60}(?:decode|context)\w{0,60}|BatchDecode|BatchPrefill|flash_attn_"
)


def is_leak(text: str) -> bool:
    """A message, not the source line of a traceback that made it."""
    return bool(LEAK_HEAD.search(text)) and not _FORMATTED.search(text)


def parse_sums(passage: Passage, source: str) -> tuple[list[Observation], int]:
    """One observation per pool of the report, and the index of its last line."""
    lines, last = [passage.head], passage.at
    for index, line in passage.following(8):
        if LEAK_HEAD.search(line.text) or TRACE_HEAD.search(line.text):
            break
        if not (_SUM.search(line.text) or _TERM.search(line.text)):
            break
        lines.append(line)
        last = index
    text = " ".join(line.text.strip() for line in lines)
    common: dict[str, Any] = {
        "source": source,
        "line": passage.head.number,
        "rank": passage.logged_rank,
        "time": passage.head.time,
        "text": shown(lines),
    }
    busy = "Mem Check" in text or "Pool Mem Leak" in text
    if "use-after-free" in text:
        refs, pages = _REFS.search(text), _PAGES.search(text)
        values: dict[str, Any] = {"pool": "full"}
        if refs is not None:
            values["count"] = int(refs["count"])
        if pages is not None:
            values["pages"] = [int(page) for page in re.findall(r"\d{1,12}", pages["pages"])]
        failure = Failure.USED_AFTER_FREE
        return [Observation(Form.LEAK, failure, values=values, **common)], last
    found = [
        _balance(match["pool"], _terms(match["terms"]), busy, common)
        for match in _SUM.finditer(text)
    ]
    if not found:
        found = list(_each_pool(text, busy, common))
    if not found and "req_to_token_pool memory leak" in text:
        terms = _terms(text)
        found = [Observation(Form.LEAK, Failure.ROW_LEAK, values={"terms": terms}, **common)]
    elif not found:
        terms = _terms(text)
        pool = "swa" if "swa" in text.lower() else "full" if terms else ""
        found = [_balance(pool, terms, busy, common)]
    return [each for each in found if each is not None], last


def _each_pool(text: str, busy: bool, common: dict[str, Any]) -> Iterator[Observation]:
    """The balances of a report whose terms name their pools."""
    pools: dict[str, dict[str, int]] = {}
    for part in _PER_POOL.finditer(text):
        pools.setdefault(part["pool"], {})[part["part"]] = int(part["value"])
    for total in _PER_POOL_TOTAL.finditer(text):
        pool = total["layer"] or total["mamba"] or "full"
        if pool in pools:
            pools[pool]["total"] = int(total["value"])
    for pool, terms in pools.items():
        if "total" in terms and len(terms) > 1:
            yield _balance(pool, terms, busy, common)


def _terms(text: str) -> dict[str, int]:
    return {found["name"]: int(found["value"]) for found in _TERM.finditer(text)}


def _balance(pool: str, terms: dict[str, int], busy: bool, common: dict[str, Any]) -> Observation:
    total = next((terms[name] for name in _TOTALS if name in terms), None)
    parts = {part: terms[name] for name, part in _PARTS.items() if name in terms}
    values: dict[str, Any] = {"pool": pool, "terms": terms, "busy": busy}
    if total is None or not parts:
        return Observation(Form.LEAK, Failure.LEAK, values=values, **common)
    seen = sum(parts.values())
    multiple = math.gcd(total, *parts.values())
    values |= {"total": total, "seen": seen, "tokens": abs(total - seen)}
    values["page_divides"] = multiple & -multiple if multiple else 0
    failure = Failure.BALANCED
    if seen != total:
        failure = Failure.LEAK if seen < total else Failure.COUNTED_TWICE
    return Observation(Form.LEAK, failure, values=values, **common)


def parse_exception(passage: Passage, source: str) -> tuple[Observation | None, int]:
    """A Python traceback to its last line; None where its end was not kept."""
    frames: list[re.Match[str]] = []
    lines, last, end = [passage.head], passage.at, None
    for index, line in passage.following(MOST_TRACE_LINES):
        frame = _FRAME.match(line.text)
        if frame is not None:
            frames.append(frame)
        elif line.text and not line.text.startswith((" ", "\t")):
            error = _ERROR.match(line.text.strip())
            if error is None or not frames:
                break
            end, last = error, index
            lines.append(line)
            break
        lines.append(line)
        last = index
    if end is None:
        return None, passage.at
    text = (end["text"] or "").strip()
    kind = end["type"].rpartition(".")[2]
    inner = frames[-1]
    theirs = [*(frame for frame in frames[:-1] if not _HOOKS.search(frame["file"])), inner]
    host = [f"{_module(f['file'])}:{f['line']} {f['name']}" for f in theirs[-4:]]
    values: dict[str, Any] = {"type": kind, "message": text[:300], "frames": host}
    if sizes := _SIZES.match(text):
        values["sizes"] = [int(sizes["into"]), int(sizes["of"])]
    called = next((f["name"] for f in reversed(frames) if _ENTRY.search(f["name"])), "")
    if called:
        values["call"] = called
    values |= library_of(inner["file"])
    if any(
        "asynchronously reported" in line.text
        for _, line in passage.following(MOST_TRACE_LINES + 6)
    ):
        values["asynchronous"] = True
    form, failure = Form.EXCEPTION, Failure.EXCEPTION
    if _POOL_FULL.search(text):
        failure = Failure.POOL_FULL
        values |= _shortage(passage.lines[max(passage.at - 12, 0) : last + 12])
    elif (code := tma_code(text)) is not None:
        form, failure = Form.TMA, descriptor_failure(code)
        values["error"] = code
    elif _OF_CUDA.search(f"{kind} {text}"):
        failure = failure_of(text)
    elif "out of memory" in text or kind == "OutOfMemoryError":
        failure = Failure.OUT_OF_MEMORY
    elif kind == "AssertionError":
        form = Form.ASSERTION
        tree = any(part in inner["file"] for part in _TREE_FILES)
        failure = Failure.TREE if tree else Failure.EXCEPTION
    elif kind in _TRAPS or "sglang-triage" in text:
        form, failure = Form.TRAP, Failure.TRAPPED
        on_its_line = _DUMP_ANYWHERE.search(text)
        dump = on_its_line["path"] if on_its_line is not None else _dump_named(passage, last)
        if dump:
            values["dump"] = dump
    plugin = _PLUGIN.search(passage.lines[passage.at - 1].text) if passage.at else None
    if plugin is not None and failure in (Failure.EXCEPTION, Failure.OTHER_CUDA):
        failure, values["plugin"] = Failure.NOT_LOADED, plugin["name"]
    first = [line for line in lines if line.text.strip()]
    return (
        Observation(
            form,
            failure,
            source,
            passage.head.number,
            passage.logged_rank,
            passage.head.time,
            values=values,
            text=shown([*first[:2], *first[-3:]] if len(first) > 5 else first),
        ),
        last,
    )


_WANTED = re.compile(r"Try to allocate (?P<tokens>\d{1,12}) tokens")
_LEFT = re.compile(r"Available (?:(?P<pool>full|swa|mamba) )?tokens: (?P<tokens>\d{1,12})")


def _shortage(lines: Sequence[Line]) -> dict[str, Any]:
    """What SGLang says of the pools beside its exception: tokens wanted, tokens left by pool."""
    found: dict[str, Any] = {}
    for line in lines:
        if wanted := _WANTED.search(line.text):
            found["wanted"] = int(wanted["tokens"])
        if left := _LEFT.search(line.text):
            found.setdefault("left", {})[left["pool"] or "KV"] = int(left["tokens"])
    return found


_PLUGIN = re.compile(r"Failed to (?:execute|load) \w{1,40} plugin: (?P<name>[\w.-]{1,120})")
_DUMP = re.compile(r"^\s{0,8}dump: (?P<path>\S{1,400})")


def _dump_named(passage: Passage, last: int) -> str:
    """The dump that a trap's message names, in the lines after its first; empty for none."""
    for index, line in passage.following():
        if index > last + 12:
            break
        named = _DUMP.search(line.text) if index > last else None
        if named is not None:
            return named["path"]
    return ""


_TRAPS = (
    "OutOfBounds",
    "WrongIndexSpace",
    "StaleSWAState",
    "BrokenLifecycle",
    "TableForm",
    "CheckerSilent",
)


def _module(file: str) -> str:
    """A file as a frame names it, without what stands before the package."""
    for root in ("/site-packages/", "/dist-packages/", "/python/"):
        if root in file:
            return file.rpartition(root)[2]
    return file


ASSERTION_LINE = re.compile(r"^\s{0,8}AssertionError(?:: (?P<text>.{0,300}))?$")
_SOURCE_LINE = re.compile(r"^\s{1,16}assert\b")


def parse_assertion(passage: Passage, source: str) -> Observation:
    """An AssertionError whose traceback was cut off."""
    found = ASSERTION_LINE.match(passage.head.text)
    before = [line for line in passage.lines[max(passage.at - 4, 0) : passage.at]]
    frames = [frame for line in before if (frame := _FRAME.match(line.text))]
    inner = frames[-1] if frames else None
    tree = inner is not None and any(part in inner["file"] for part in _TREE_FILES)
    text = "" if found is None else (found["text"] or "")
    if inner is None and re.search(r"\bnode\b|lru list|lock_ref|tombstone|leaf", text):
        tree = True
    values: dict[str, Any] = {"type": "AssertionError", "message": text[:300]}
    if inner is not None:
        values["frames"] = [f"{_module(inner['file'])}:{inner['line']} {inner['name']}"]
    return Observation(
        Form.ASSERTION,
        Failure.TREE if tree else Failure.EXCEPTION,
        source,
        passage.head.number,
        passage.logged_rank,
        passage.head.time,
        values=values,
        text=shown([*before[-2:], passage.head]),
    )


PEER = re.compile(
    r"atchdog caught collective operation timeout|scheduler died|[Rr]eceived sigquit|SIGQUIT"
    r"|closed by (?:local|remote)|remote p(?:eer|rocess)|ncclRemoteError|atchdog thread terminated"
    r"|atchdog timeout|Connection reset by peer|Child process unexpectedly failed"
    r"|SIGTERM received|ast enqueued (?:NCCL )?work"
)
_STOPPED = re.compile(r"SIGTERM received|crashed with exit code -15\b")
_HUNG = re.compile(r"atchdog timeout")
_WHICH = re.compile(r"[Rr]ank\s?(?P<rank>\d{1,5})")
_COLLECTIVE = re.compile(
    r"collective operation timeout: \w{1,20}"
    r"\(SeqNum=(?P<sequence>\d{1,12}), OpType=(?P<op>\w{1,40})"
)
_BEGUN = re.compile(r"ast enqueued (?:NCCL )?work: (?P<number>\d{1,12})")


def parse_peer(passage: Passage, source: str) -> Observation:
    """A line that tells of another process's end, of a stop that was asked for, or of a wait."""
    text = passage.head.text
    other = (found["rank"] for found in _WHICH.finditer(text))
    which = next((each for each in other if f"rank {each}" != passage.logged_rank), None)
    values: dict[str, Any] = {}
    if collective := _COLLECTIVE.search(text):
        values |= {"collective": collective["op"], "sequence": int(collective["sequence"])}
    if begun := _BEGUN.search(text):
        values["begun"] = int(begun["number"])
    if which and not values:  # a rank's own line names itself
        values["tells_of"] = f"rank {which}"
    if waits := _waits(passage):
        values["waits"] = waits
    waited = bool(values.keys() & {"collective", "begun"}) or _HUNG.search(text)
    failure = Failure.HUNG if waited else Failure.ENDED
    return Observation(
        Form.PEER,
        Failure.STOPPED if _STOPPED.search(text) else failure,
        source,
        passage.head.number,
        passage.logged_rank,
        passage.head.time,
        values=values,
        text=shown([passage.head]),
    )


_STACK = re.compile(r"^Thread \d{1,10} \(\w{1,20}(?:\+\w{1,10})?\):? \"?MainThread")
_ON_GPU = re.compile(r"cu(?:da)?(?:Event|Stream|Device|Ctx)Synchronize")
_ON_PEER = re.compile(r"\bgloo\b|broadcast_pyobj|\bbarrier\b")


def _waits(passage: Passage) -> str:
    """ "gpu" or "peer" by the newest stack of the same rank's main thread above a watchdog's line.

    The first frame that tells is the innermost. "" where there is no such stack.
    """
    if not _HUNG.search(passage.head.text):
        return ""
    above = passage.lines[max(passage.at - 60, 0) : passage.at]
    starts = [index for index, line in enumerate(above) if _STACK.match(line.text.strip())]
    for line in above[starts[-1] :] if starts else ():
        if line.header and line.rank != passage.logged_rank:
            return ""
        if _ON_GPU.search(line.text):
            return "gpu"
        if _ON_PEER.search(line.text):
            return "peer"
    return ""


TRAP = re.compile(r"sglang-triage: (?P<what>.{1,300})")
_DUMP_ANYWHERE = re.compile(r"dump: (?P<path>\S{1,400})")


def parse_trap(passage: Passage, source: str) -> Observation | None:
    """A line of this tool's own that names a dump."""
    text = passage.joined(6)
    dump = _DUMP_ANYWHERE.search(text)
    if dump is None:
        return None
    return Observation(
        Form.TRAP,
        Failure.TRAPPED,
        source,
        passage.head.number,
        passage.logged_rank,
        passage.head.time,
        values={"dump": dump["path"]},
        text=shown([passage.head]),
    )


FATAL = re.compile(r"Fatal Python error: (?P<what>.{1,200})")


def parse_fatal(passage: Passage, source: str) -> Observation:
    """What Python says when a signal ends the process: a fault of host code."""
    found = FATAL.search(passage.head.text)
    assert found is not None
    lines = [passage.head, *(line for _, line in passage.following(6))]
    return Observation(
        Form.EXCEPTION,
        Failure.EXCEPTION,
        source,
        passage.head.number,
        passage.logged_rank,
        passage.head.time,
        values={"type": "Fatal Python error", "message": found["what"].strip()},
        text=shown(lines),
    )
