"""`triage kernels mutants`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from triage.commands.kernels_options import JSON, prepare


@click.command()
@click.argument("names", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="Name the planted defects, run nothing.")
@click.option(
    "--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the matrix."
)
@JSON
def mutants(names: tuple[str, ...], only_list: bool, markdown: Path | None, as_json: bool) -> None:
    """Plant defects in copies of the kernels and see which checks catch each (CPU)."""
    prepare("cpu")
    from triage_kernels.validate.defects import DEFECTS
    from triage_kernels.validate.mutants import detect_all, matrix

    if only_list:
        for mutant in DEFECTS:
            click.echo(f"{mutant.name:26} {mutant.op:34} {mutant.what}")
        return
    detections = []
    for detection in detect_all(names):
        detections.append(detection)
        if not as_json:
            state = "caught" if detection.caught_by else "MISSED"
            by = ", ".join(detection.caught_by)
            click.echo(
                f"{state} {detection.mutant:26} {detection.op:34} upstream: "
                f"{detection.upstream:8} {by}"
            )
    if as_json:
        click.echo(json.dumps([asdict(d) for d in detections], indent=1))
    if markdown:
        markdown.write_text(matrix(detections))
        click.echo(f"wrote {markdown}", err=True)
    missed = sum(not d.caught_by for d in detections)
    if not as_json:
        click.echo(f"{len(detections) - missed} of {len(detections)} caught")
    raise SystemExit(1 if missed else 0)
