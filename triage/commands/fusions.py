"""`triage fusions`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from triage.commands.completion import names, patterns
from triage.commands.kernels_options import check_outputs
from triage.commands.options import WholeHelp, force_option
from triage.commands.written import json_option, tell_written
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import write_output


class _PathOrCommand(WholeHelp):
    """`triage fusions PATH` shows; `triage fusions port NAME` is a command of its own."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["show", *args]
        return super().parse_args(context, args)


@click.group(cls=_PathOrCommand)
def fusions() -> None:
    """Read what TorchInductor fused: `triage fusions PATH` ranks what is worth a kernel.

    \b
    PATH is an output_code.py, a folder of them (TORCH_COMPILE_DEBUG=1 writes
    torch_compile_debug; vLLM's compile cache is one too), or a log made with
    TORCH_LOGS=output_code. It is read as text, never run.
    """


@fusions.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--layers", type=click.IntRange(1), help="Layers it holds; else worked out.")
@click.option("--tokens", type=click.IntRange(1), default=16, show_default=True,
              help="What a symbolic size stands for.")  # fmt: skip
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="HTML file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@force_option
def show(
    path: Path, layers: int | None, tokens: int, page: Path | None, as_json: bool, force: bool
) -> None:
    """Rank the patterns of a capture by the bytes and launches that fusing saves."""
    check_outputs(force, page)
    from triage.fusions.page import html, lines
    from triage.fusions.ranking import rank
    from triage.fusions.reader import read

    ranking = rank(read(path, tokens), layers, tokens)
    if as_json:
        echo(report_json("fusions", asdict(ranking), indent=1))
    else:
        for line in lines(ranking):
            echo(line)
    if page:
        write_output(page, html(ranking).encode(), force=force)
        echo(f"wrote {page}", err=True)


@fusions.command("port")
@click.argument("pattern", shell_complete=names(patterns))
@click.option("--name", help="Of the function; else the pattern's.")
@click.option("--into", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@json_option
def port_(pattern: str, name: str | None, into: Path | None, as_json: bool) -> None:
    """Write the skeleton of a kernel for a PATTERN: everything but the kernel."""
    from triage.fusions.port import port

    written = port(pattern, name, into or Path(f"{(name or pattern).replace('-', '_')}.py"))
    then = (f"triage kernels validate --also {written}",)
    tell_written((written,), as_json=as_json, next_commands=then)
