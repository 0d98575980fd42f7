"""What a server's own log says: why it ended, and what its scheduler did meanwhile."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

_PREFIX = re.compile(r"^\[[^\]]*\]\s*")
_FINAL = re.compile(
    r"^(?:(?:[A-Za-z_]\w*\.)*\w*"
    r"(?:Error|Exception|Exit|Interrupt|StaleSWAState|IndexSpace|TableForm|Lifecycle|OutOfBounds)"
    r"|(?:[A-Za-z_]\w*\.)+[A-Z]\w*)"  # a module before it: torch._dynamo.exc.Unsupported
    r"(?::|$)"
)
_CONSEQUENCES = ("SystemExit", "KeyboardInterrupt", "EOFError", "CancelledError", "BrokenPipeError")
_ILLEGAL = re.compile(
    r"illegal memory access|global/shared address space|Warp Illegal|CUDA_ERROR_ILLEGAL_ADDRESS"
)
_NOISE = re.compile(r'"(GET|POST) /\S* HTTP')
_PLAIN_REASONS = re.compile(
    r"error: |No space left|[Aa]ddress already in use|Killed|Not enough memory|out of memory"
)
_CHILD_FAILED = "SIGQUIT received"


@dataclass(frozen=True, slots=True)
class Activity:
    """How often the log says that something happened that a load wants to reach.

    full_chunks: prefill batches of a whole chunk's tokens: some prompt went on in the next.
    graphs: decode lines of batches in a CUDA graph; eager: of others. SGLang logs one in 40.
    retractions: requests taken out of a running batch for lack of slots.
    """

    prefill_batches: int
    full_chunks: int
    graphs: int
    eager: int
    retractions: int

    def json(self) -> dict[str, int]:
        return asdict(self)


def activity(text: str, chunk_tokens: int) -> Activity:
    """Counts over a whole log of a server with `--chunked-prefill-size chunk_tokens`."""
    prefill = [int(count) for count in re.findall(r"Prefill batch.*?#new-token: (\d+)", text)]
    decode = re.findall(r"Decode batch.*? graph: (True|False)", text)
    return Activity(
        prefill_batches=len(prefill),
        full_chunks=sum(tokens >= chunk_tokens for tokens in prefill),
        graphs=decode.count("True"),
        eager=decode.count("False"),
        retractions=sum(int(n) for n in re.findall(r"#retracted_reqs: (\d+)", text)),
    )


def prompt_batches(text: str) -> list[str]:
    """How prompts came together, one entry a batch: requests, new tokens, cached tokens.

    Which prompts share a batch is a matter of milliseconds, and it decides how sums are rounded:
    two runs of one load have the same greedy answers only as far as these are the same.
    """
    pattern = r"Prefill batch, #new-seq: (\d+), #new-token: (\d+), #cached-token: (\d+)"
    return [" ".join(found) for found in re.findall(pattern, text)]


def reason(text: str) -> str:
    """Why the server ended, as its log says: the last exception before the launcher was told.

    What other processes say after that is a consequence; what was logged long before, and
    lived through, is none of it. Of chained exceptions the last counts. A log without an
    exception is quoted by its last line that names a reason, else by its last line.
    """
    lines = [_PREFIX.sub("", line.rstrip()) for line in text.splitlines()]
    first_death = next((at for at, line in enumerate(lines) if _CHILD_FAILED in line), len(lines))
    for part in (lines[:first_death], lines):
        real = [one for one in _exceptions(part) if not one.startswith(_CONSEQUENCES)]
        if real:
            return real[-1]
    said = [line.strip() for line in lines if line and not _NOISE.search(line)]
    named = [line for line in said if _PLAIN_REASONS.search(line)]
    return (named or said or ["its log is empty"])[-1]


def illegal_access(text: str) -> bool:
    """Does the log hold what CUDA says of a kernel that read an unmapped address?"""
    return bool(_ILLEGAL.search(text))


def child_failed(text: str) -> bool:
    """Was the launcher told that one of its processes ended?"""
    return _CHILD_FAILED in text


def tail(text: str, lines: int) -> str:
    """The last `lines` lines, requests for health and answers left out."""
    return "\n".join([line for line in text.splitlines() if not _NOISE.search(line)][-lines:])


def last_said(text: str) -> str:
    """The last line that says something: neither blank nor indented, as a warning's code is."""
    for line in reversed(text.splitlines()):
        if line.strip() and not line[0].isspace() and not _NOISE.search(line):
            return line
    return "nothing in its log yet"


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
