"""`triage kernels resolve`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("dump", type=click.Path(path_type=Path))
@click.option("--flashinfer", "version", default="", help="Release; else the recorded one.")
@click.option("--arch", type=click.Choice(["100", "103"]), help="GPU; else as recorded.")
@click.option("--sm-count", default=0, help="SMs of the GPU; else the recorded ones, or 148.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def resolve(dump: Path, version: str, arch: str | None, sm_count: int, as_json: bool) -> None:
    """Name the trtllm-gen kernel that the launch in DUMP selects, per FlashInfer release.

    Two names are printed where only a GPU can decide between them, and the
    published defects that the call is exposed to.
    """
    from triage.dump import read_dump
    from triage.resolver import call_of, known_versions, recorded_version
    from triage.resolver import resolve as resolve_call
    from triage.resolver.defects import defects_of
    from triage.resolver.table import parse_version

    recorded = read_dump(dump)
    wanted = parse_version(version) if version else recorded_version(recorded)
    answers: list[dict[str, Any]] = []
    for release in [wanted] if wanted else known_versions():
        call = call_of(recorded, release, arch=arch or "", sm_count=sm_count)
        found = resolve_call(call)
        answers.append(
            {
                "flashinfer": ".".join(map(str, release)),
                "arch": call.arch,
                "sm_count": call.sm_count,
                "kernels": [kernel.name for kernel in found.candidates],
                "splits": found.splits,
                "missing": found.missing,
                "note": found.note,
                "defects": [
                    {"link": each.link, "what": each.what} for each in defects_of(call, found)
                ],
            }
        )
    if as_json:
        click.echo(json.dumps(answers, indent=2))
        return
    for answer in answers:
        _print(answer)


def _print(answer: dict[str, Any]) -> None:
    click.echo(f"FlashInfer {answer['flashinfer']}, sm_{answer['arch']}, {answer['sm_count']} SMs")
    if answer["missing"]:
        click.echo(f"  no kernel exists for this call: {answer['missing']}")
    for name in answer["kernels"]:
        click.echo(f"  {name}")
    if answer["note"]:
        click.echo(f"  {answer['note']}")
    for defect in answer["defects"]:
        click.echo(f"  known defect: {defect['what']}\n    {defect['link']}")
