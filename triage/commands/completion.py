"""What a shell completes: the names that an option or argument knows, read when it asks.

`eval "$(_TRIAGE_COMPLETE=bash_source triage)"` switches it on (zsh_source, fish_source
likewise). Each source is a function, so that no command loads more for being completable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names(source: Callable[[], Iterable[str]], *, files: bool = False) -> Complete:
    """The names of `source` that begin as what was typed, its part behind the last comma.

    files: a file is accepted as well. A source that cannot be read here (no SGLang, no
    torch) completes nothing.
    """

    def complete(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
        done, comma, part = typed.rpartition(",")
        try:
            known = [each for each in source() if each.startswith(part)]
        except Exception:  # a shell is no place for an error
            known = []
        found = [CompletionItem(f"{done}{comma}{each}") for each in known]
        return found + ([CompletionItem(typed, type="file")] if files else [])

    return complete


def replay_kernels() -> Iterable[str]:
    from triage.replay.kernels import KERNELS

    return (*KERNELS, "all")


def replay_fixes() -> Iterable[str]:
    from triage.replay.fixes import FIXES

    return FIXES


def export_formats() -> Iterable[str]:
    from triage.export import FORMATS

    return FORMATS


def pages() -> Iterable[str]:
    """The invariants and classes that `triage explain` has a page for."""
    from triage.explain.classes import CLASSES
    from triage.invariants.catalogue import BY_NAME

    return (*BY_NAME, *CLASSES)


def check_names() -> Iterable[str]:
    from triage.invariants.catalogue import BY_NAME, FAMILIES

    return (*FAMILIES, "all", *BY_NAME)


def scenarios() -> Iterable[str]:
    from triage.lab.scenarios import SCENARIOS

    return SCENARIOS


def reinjections() -> Iterable[str]:
    from triage.lab.reinject import REINJECTIONS

    return REINJECTIONS


def release_names() -> Iterable[str]:
    from triage.lab import versions

    return versions.available()


def bugs() -> Iterable[str]:
    from triage.lab.bugs import CATALOGUE

    return CATALOGUE


def shapes() -> Iterable[str]:
    from triage.lab.server.shapes import SHAPES

    return SHAPES


def server_flags() -> Iterable[str]:
    """Those of SGLang's server that `triage lab serve` chooses by itself."""
    from triage.lab.server import flags

    chosen = flags.choose((9, 0), mtp=True, draft_path="assistant", small=True)
    return [flag.name for flag in chosen]


def server_modes() -> Iterable[str]:
    from triage.lab.server.session import MODES

    return MODES


def server_loads() -> Iterable[str]:
    from triage.lab.server.session import LOADS

    return LOADS


def attention_backends() -> Iterable[str]:
    from triage.lab.server.flags import ATTENTION

    return ATTENTION


def architectures() -> Iterable[str]:
    """Of GPUs whose answers differ here; another one may be typed."""
    return ("sm_80", "sm_90", "sm_100", "sm_103", "sm_120")


def flashinfer_releases() -> Iterable[str]:
    from triage.resolver import known_versions
    from triage.resolver.pins import dotted

    return map(dotted, known_versions())


def server_defects() -> Iterable[str]:
    from triage.lab.server.defects import DEFECTS

    return DEFECTS


def server_fixes() -> Iterable[str]:
    from triage.sglang.fixes import AUTO, FIXES

    return (*FIXES, AUTO)


def provable() -> Iterable[str]:
    from triage.verify.prove import PROVABLE

    return PROVABLE


def kernels() -> Iterable[str]:
    from triage_kernels.validate.registry import KERNELS

    return [each.name for each in KERNELS]


def variants() -> Iterable[str]:
    from triage_kernels.validate.registry import KERNELS

    return sorted({case.variant for each in KERNELS for case in each.cases})


def contenders() -> Iterable[str]:
    from triage_kernels.perf.bench import CONTENDERS

    return CONTENDERS


def kernel_checks() -> Iterable[str]:
    from triage_kernels.validate.checks import ALL

    return ALL


def mutants() -> Iterable[str]:
    from triage_kernels.validate.defects import DEFECTS

    return [each.name for each in DEFECTS]


def patterns() -> Iterable[str]:
    from triage.fusions.catalogue import PATTERNS

    return [each.name for each in PATTERNS]
