"""What a server's own log says: why it ended, and what its scheduler did meanwhile."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

_PREFIX = re.compile(r"^\[[^\]]*\]\s*")
_FINAL = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit|Fault|State|Space|"
                    r"Form|Lifecycle|OutOfBounds|Interrupt)(?::|$)")  # fmt: skip
_CONSEQUENCES = ("SystemExit", "KeyboardInterrupt", "EOFError", "CancelledError", "BrokenPipeError")
_ILLEGAL = re.compile(r"illegal memory access|Warp Illegal|CUDA_ERROR_ILLEGAL_ADDRESS")
_NOISE = re.compile(r'"(GET|POST) /\S* HTTP')
_PLAIN_REASONS = re.compile(
    r"(error: .*)|(No space left.*)|(.*[Aa]ddress already in use.*)|(.*Killed.*)|"
    r"(.*Not enough memory.*)|(.*out of memory.*)"
)


@dataclass(frozen=True, slots=True)
class Activity:
    """How often the log says that something happened that a load wants to reach.

    retractions: requests taken out of a running batch for lack of slots.
    chunked: prefill batches of no new request: the rest of a prompt begun before.
    graphs: decode batches that ran in a CUDA graph; eager: those that did not.
    """

    prefill_batches: int
    chunked: int
    graphs: int
    eager: int
    retractions: int
    aborted: int

    def json(self) -> dict[str, int]:
        return asdict(self)


def activity(text: str) -> Activity:
    """Counts over a whole log."""
    prefill = re.findall(r"Prefill batch.*?#new-seq: (\d+)", text)
    decode = re.findall(r"Decode batch.*?cuda graph: (True|False)", text)
    return Activity(
        prefill_batches=len(prefill),
        chunked=sum(new == "0" for new in prefill),
        graphs=decode.count("True"),
        eager=decode.count("False"),
        retractions=sum(int(n) for n in re.findall(r"#retracted_reqs: (\d+)", text)),
        aborted=len(re.findall(r"Abort(?:ed)? request|Abort running request", text)),
    )


def reason(text: str) -> str:
    """Why the server ended, as its log says: the exception that came first, else the last word.

    What follows an exception elsewhere (a launcher that lost its scheduler) is left out, and
    of chained exceptions the last counts.
    """
    lines = [_PREFIX.sub("", line.rstrip()) for line in text.splitlines()]
    exceptions = _exceptions(lines)
    real = [one for one in exceptions if not one.startswith(_CONSEQUENCES)]
    if real:
        return real[0]
    said = [line for line in lines if line and not _NOISE.search(line)]
    for line in reversed(said):
        if found := _PLAIN_REASONS.fullmatch(line.strip()):
            return found[0]
    return said[-1].strip() if said else "its log is empty"


def illegal_access(text: str) -> bool:
    """Does the log hold what CUDA says of a kernel that read an unmapped address?"""
    return bool(_ILLEGAL.search(text))


def tail(text: str, lines: int) -> str:
    """The last `lines` lines, requests for health and answers left out."""
    return "\n".join([line for line in text.splitlines() if not _NOISE.search(line)][-lines:])


def _exceptions(lines: list[str]) -> list[str]:
    """The last line of every traceback, chained ones as one, in the order of the log."""
    found: list[str] = []
    inside = chained = False
    for line in lines:
        if "Traceback (most recent call last)" in line:
            inside = True
        elif "was the direct cause" in line or "During handling of the above" in line:
            chained = bool(found)
        elif inside and _FINAL.match(line):
            if chained:
                found[-1] = line
            else:
                found.append(line)
            inside = chained = False
    return found
