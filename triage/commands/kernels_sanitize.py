"""`triage kernels sanitize`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from triage.commands.completion import kernels, names
from triage.commands.kernels_options import DEVICE, JSON, prepare
from triage.commands.progress import progress
from triage.files.reports import report_json
from triage.files.text import echo

if TYPE_CHECKING:
    from triage_kernels.validate.results import CheckResult

NAMES = ["fpsan", "gsan", "iisan", "consan"]


@click.command()
@click.argument("ops", nargs=-1, shell_complete=names(kernels))
@click.option("--sanitizer", "modes", multiple=True, type=click.Choice(NAMES))
@click.option(
    "--compile-only",
    is_flag=True,
    help="Compile for an H200 and say what a sanitizer put in; needs no GPU, runs nothing.",
)
@DEVICE
@JSON
def sanitize(
    ops: tuple[str, ...], modes: tuple[str, ...], compile_only: bool, device: str, as_json: bool
) -> None:
    """Run our kernels under sanitizers: Triton's (3.9) on a GPU, its interpreter on a CPU.

    Fused kernels and their chains of separate ones in exact arithmetic (fpsan), races and
    accesses outside the tensors (gsan), alignment of descriptors (iisan). Every line says which
    of the two it was. consan can only be compiled.
    """
    if "consan" in modes and not compile_only:
        raise click.UsageError("consan can only be compiled; add --compile-only")
    prepare("cuda" if compile_only else device)
    from triage_kernels.validate.registry import select
    from triage_kernels.validate.report import result_text
    from triage_kernels.validate.sanitizers import SANITIZERS
    from triage_kernels.validate.sanitizers import sanitize as run

    found: Iterator[CheckResult]
    if compile_only:
        from triage_kernels.validate.instrumented import COMPILED, compile_instrumented

        wanted = modes or COMPILED
        found = compile_instrumented(ops, wanted)
    else:
        wanted = modes or SANITIZERS
        found = run(ops, device, wanted)
    results = []
    with progress("sanitizers", len(select(ops)) * len(wanted)) as tell:
        for result in found:
            results.append(result)
            tell(len(results), now=f"{result.op} {result.check}")
            if not as_json:
                echo(result_text(result, details=True))
    if as_json:
        echo(report_json("kernels-sanitize", {"results": [asdict(r) for r in results]}, indent=1))
    outcomes = {r.outcome for r in results}
    raise SystemExit(1 if "FAIL" in outcomes else 0 if "PASS" in outcomes else 3)
