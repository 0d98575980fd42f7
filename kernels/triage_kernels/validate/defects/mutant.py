"""What a planted defect is: which words of which kernel are changed, and into what."""

from __future__ import annotations

from dataclasses import dataclass

Edit = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One defect.

    Attributes:
        module: file of `op`, edited by `edits`, each of which matches exactly once.
        cases: how many of the op's cases to run.
        checks: the only checks to run; all of them where none is named.
        link: the public report of this mistake, made in another kernel.
        dtype: what to run it in.
        device: where it can be caught; what a GPU alone has is left out on a CPU.
    """

    name: str
    op: str
    module: str
    what: str
    edits: tuple[Edit, ...]
    cases: int = 1
    checks: tuple[str, ...] = ()
    link: str = ""
    dtype: str = "float16"
    device: str = "cpu"
