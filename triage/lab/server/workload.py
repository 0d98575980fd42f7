"""Which requests a load sends: drawn from a seed, the same on every machine.

`plain` asks for the same tokens whenever it is played, so that two servers can be
compared by their answers; `exact` is for timing. `mixed` looks for trouble: prefixes that
requests share, prompts and answers around page and window edges, prompts longer than a
prefill chunk, more at once than the pool holds, and 12 % that are aborted at a random time,
half by hanging up and half through /abort_request.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

FIRST_TOKEN = 10
"""Below are the special tokens: padding, end and beginning of text."""

ABORTED_SHARE = 0.12
SHARED_SHARE = 0.5
PREFIXES = 6


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. abort: how and after how many seconds it is given up; None: never."""

    index: int
    input_ids: tuple[int, ...]
    max_new_tokens: int
    abort: tuple[Literal["hang up", "abort_request"], float] | None = None


def plain(
    requests: int, input_tokens: int, output_tokens: int, seed: int, vocab_size: int
) -> list[Asked]:
    """Prompts of half to all of `input_tokens`, answers of exactly `output_tokens`."""
    asked = []
    for index in range(requests):
        draw = random.Random(f"plain {seed} {index}")
        length = draw.randint(max(1, input_tokens // 2), input_tokens)
        asked.append(Asked(index, _tokens(draw, length, vocab_size), output_tokens))
    return asked


def exact(
    requests: int, input_tokens: int, output_tokens: int, seed: int, vocab_size: int
) -> list[Asked]:
    """Prompts and answers of exactly these lengths, no two prompts with a common beginning."""
    draws = (random.Random(f"exact {seed} {index}") for index in range(requests))
    return [
        Asked(index, _tokens(draw, input_tokens, vocab_size), output_tokens)
        for index, draw in enumerate(draws)
    ]


def mixed(
    requests: int, seed: int, vocab_size: int, *, page_size: int = 64, window: int = 512
) -> list[Asked]:
    """Lengths at edges, shared prefixes, aborts; prompts up to 5,500 tokens, answers up to 300."""
    shared = random.Random(f"mixed {seed}")
    lengths = (200, 700, 1500, 3000)
    prefixes = [_tokens(shared, shared.choice(lengths), vocab_size) for _ in range(PREFIXES)]
    page_edges = (1, page_size - 1, page_size, page_size + 1, 2 * page_size + 1)
    window_edges = (window - 1, window, window + 1, window + page_size)
    asked = []
    for index in range(requests):
        draw = random.Random(f"mixed {seed} {index}")
        prefix = draw.choice(prefixes) if draw.random() < SHARED_SHARE else ()
        own = draw.choice((17, *page_edges, *window_edges, 900, 2500))
        answer = draw.choice((1, 2, 5, page_size - 1, page_size, page_size + 1, 2 * page_size, 300))
        abort = None
        if draw.random() < ABORTED_SHARE:
            how: Literal["hang up", "abort_request"]
            how = "hang up" if draw.random() < 0.5 else "abort_request"
            abort = (how, draw.uniform(0.05, 1.5))
        asked.append(Asked(index, prefix + _tokens(draw, own, vocab_size), answer, abort))
    return asked


def _tokens(draw: random.Random, count: int, vocab_size: int) -> tuple[int, ...]:
    return tuple(draw.randrange(FIRST_TOKEN, vocab_size - 6) for _ in range(count))
