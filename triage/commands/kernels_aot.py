"""`triage kernels aot`."""

from __future__ import annotations

from dataclasses import asdict

import click

from triage.commands.completion import kernels, names
from triage.commands.kernels_options import DTYPE, JSON, dtypes_of, prepare
from triage.commands.progress import progress
from triage.files.reports import report_json
from triage.files.text import echo


@click.command()
@click.argument("ops", nargs=-1, shell_complete=names(kernels))
@click.option("--arch", "archs", multiple=True, type=int, help="90, 100, 103 or 120; all of them.")
@click.option("--dtype", "dtypes", multiple=True, type=DTYPE)
@click.option("--provider", type=click.Choice(["ours", "sglang"]), default="ours")
@click.option(
    "--floats",
    type=click.Choice(["fp32", "fp64"]),
    default="fp32",
    help="Type of runtime floats: fp64 is what a launch made by Inductor passes.",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a table: a row per op.")
@JSON
def aot(
    ops: tuple[str, ...],
    archs: tuple[int, ...],
    dtypes: tuple[str, ...],
    provider: str,
    floats: str,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Compile for sm_90, sm_100, sm_103 and sm_120 without a GPU; refuse fp64 and spills."""
    prepare("cuda")
    from triage_kernels.perf.aot import ARCHITECTURES, compile_all
    from triage_kernels.perf.report import compiled_markdown, compiled_text

    wanted = dtypes_of(dtypes or ("bfloat16",))
    results = []
    with progress("compiled") as tell:
        for compiled in compile_all(ops, archs or ARCHITECTURES, wanted, provider, floats):
            results.append(compiled)
            tell(len(results))
            if not as_json:
                echo(compiled_text(compiled), err=as_markdown)
    dirty = sum(not c.clean for c in results)
    if as_json:
        echo(report_json("kernels-aot", [asdict(c) for c in results], indent=1))
    elif as_markdown and results:
        echo(compiled_markdown(results))
    else:
        echo(f"{len(results)} compiled, {dirty} with fp64, spills or local memory")
    raise SystemExit(1 if dirty else 0 if results else 3)
