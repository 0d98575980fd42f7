from __future__ import annotations

from typing import NamedTuple


class Flag(NamedTuple):
    """One server flag. `value` is empty for a switch."""

    name: str
    value: str
    why: str


def choose(capability: tuple[int, int], *, mtp: bool, draft_path: str = "") -> list[Flag]:
    """The flags that `sglang.launch_server` needs on a GPU of this compute capability."""
    raise NotImplementedError


def command_line(chosen: list[Flag], given: list[str]) -> list[str]:
    """`chosen` as arguments, less those that `given` sets itself, then `given`."""
    raise NotImplementedError
