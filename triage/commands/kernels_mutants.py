"""`triage kernels mutants`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from triage.commands import completion as complete
from triage.commands.kernels_options import DEVICE, JSON, check_outputs, prepare
from triage.commands.options import force_option
from triage.commands.progress import progress
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import write_output


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete.names(complete.mutants))
@click.option("--list", "only_list", is_flag=True, help="Name the planted defects, run nothing.")
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write the matrix; - is standard output.",
)
@DEVICE
@force_option
@JSON
def mutants(
    names: tuple[str, ...],
    only_list: bool,
    markdown: Path | None,
    device: str,
    force: bool,
    as_json: bool,
) -> None:
    """Plant defects in copies of the kernels and see which checks catch each.

    On a GPU, those that only a GPU can have: a kernel that does not wait for the one in front.
    """
    to_stdout = markdown == Path("-")
    if to_stdout and as_json:
        raise click.UsageError("--markdown - and --json would both go to standard output; name one")
    check_outputs(force, None if to_stdout else markdown)
    prepare(device)
    from triage_kernels.validate.defects import DEFECTS
    from triage_kernels.validate.mutants import detect_all, matrix

    if only_list:
        for mutant in DEFECTS:
            echo(f"{mutant.name:26} {mutant.op:34} {mutant.what}")
        return
    detections = []
    total = len(set(names)) or sum(mutant.device == device for mutant in DEFECTS)
    with progress("mutants", total) as tell:
        for detection in detect_all(names, device):
            detections.append(detection)
            tell(len(detections))
            if not as_json:
                state = "caught" if detection.caught_by else "MISSED"
                by = ", ".join(detection.caught_by)
                echo(
                    f"{state} {detection.mutant:26} {detection.op:34} upstream: "
                    f"{detection.upstream:8} {by}",
                    err=to_stdout,
                )
    if as_json:
        echo(report_json("kernels-mutants", [asdict(d) for d in detections], indent=1))
    if to_stdout:
        echo(matrix(detections))
    elif markdown:
        write_output(markdown, matrix(detections).encode(), force=force)
        echo(f"wrote {markdown}", err=True)
    missed = sum(not d.caught_by for d in detections)
    if not as_json:
        echo(f"{len(detections) - missed} of {len(detections)} caught", err=to_stdout)
    raise SystemExit(1 if missed else 0)
