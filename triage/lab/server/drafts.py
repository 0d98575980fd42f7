"""The tokens a draft proposes, recorded in the server, compared between servers.

A greedy target returns its own tokens whatever the draft read, so equal outputs say nothing
of a draft's table. What a wrong table changes first is what the draft proposes, and with it
how many proposals are accepted. Recorded per request and position, the share of proposals
that equal the sound server's is a figure that random weights can show.

Tokens of a lab server with invented weights and invented prompts; not for a real one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from triage.lab.server import plugin_folder
from triage.lab.server.late import Lines, Observer, Step, observe, side_copy

Proposals = dict[tuple[int, int], tuple[int, ...]]
"""(CRC of the prompt, tokens known when the draft began) -> the tokens it proposed."""


class DraftRecorder(Observer):
    """Writes one `draft` line a step: prompt CRCs, lengths and proposals of living rows."""

    def __init__(self, out: Path) -> None:
        self.lines = Lines(out)

    def drafted(self, step: Step, batch: Any, proposal: Any) -> None:
        tokens = getattr(proposal, "draft_token", None)
        width = int(getattr(proposal, "draft_token_num", 0) or 0)
        if tokens is None or not width or tokens.numel() != width * len(step.rows):
            return
        done = None
        copies = side_copy(tokens.reshape(-1, width)), side_copy(batch.seq_lens)
        if tokens.is_cuda:
            import torch

            done = torch.cuda.Event()
            done.record()
        step.copies.append(_Proposed(*copies, done))

    def settle(self, step: Step) -> None:
        for copy in [each for each in step.copies if isinstance(each, _Proposed)]:
            if copy.done is not None:
                copy.done.synchronize()
            alive = [index for index, row in enumerate(step.rows) if not row.ended]
            tokens, lengths = copy.tokens.tolist(), copy.lengths.tolist()
            self.lines.write(
                "draft",
                step=step.number,
                rows=[[step.rows[i].prompt, lengths[i], *tokens[i][1:]] for i in alive],
            )


@dataclass(frozen=True, slots=True)
class _Proposed:
    """tokens `(rows, 1 + proposals)`: the token that is known, then the draft's."""

    tokens: Tensor
    lengths: Tensor
    done: Any


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two servers' drafts agree, over requests and positions that both drafted at.

    compared: tokens. equal: of those. first_equal: rows whose first proposal is equal, of `rows`.
    """

    compared: int
    equal: int
    rows: int
    first_equal: int

    @property
    def share(self) -> float | None:
        return self.equal / self.compared if self.compared else None


def read(path: Path, *, since: float = 0.0, until: float = float("inf")) -> Proposals:
    """The proposals in `path`, the last one of each request and position.

    since, until: seconds since the epoch, to take one of several loads of a server.
    """
    found: Proposals = {}
    for line in Lines.read(path):
        if line["kind"] == "draft" and since <= line["time"] <= until:
            for prompt, length, *tokens in line["rows"]:
                found[prompt, length] = tuple(tokens)
    return found


def agreement(sound: Proposals, other: Proposals) -> Agreement:
    """Compare token by token where both have proposals for the same request and position."""
    both = sound.keys() & other.keys()
    pairs = [(sound[key], other[key]) for key in both]
    equal = sum(a == b for one, two in pairs for a, b in zip(one, two, strict=False))
    compared = sum(min(len(one), len(two)) for one, two in pairs)
    first = sum(bool(one and two) and one[0] == two[0] for one, two in pairs)
    return Agreement(compared, equal, len(pairs), first)


def plugin(directory: Path, out: Path) -> Path:
    """A plugin folder with which a server writes its draft's proposals to `out`."""
    return plugin_folder.write(directory, "drafts", f"{__name__}:insert", out=str(out))


def insert(out: str) -> None:
    observe(DraftRecorder(Path(out)))
