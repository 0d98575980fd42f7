"""`triage kernels resolve`."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("dump", type=click.Path(path_type=Path))
@click.option("--flashinfer", "version", default="", help="Release; else the recorded one.")
@click.option("--arch", type=click.Choice(["100", "103"]), help="GPU; else as recorded.")
@click.option("--heads", nargs=2, type=click.IntRange(1), help="Query and KV heads to assume.")
@click.option("--head-dim", type=click.IntRange(1), help="Likewise.")
@click.option("--sm-count", default=0, help="SMs of the GPU; else the recorded ones, or 148.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def resolve(
    dump: Path,
    version: str,
    arch: str | None,
    heads: tuple[int, int] | None,
    head_dim: int | None,
    sm_count: int,
    as_json: bool,
) -> None:
    """Name the trtllm-gen kernel that the launch in DUMP selects, per FlashInfer release.

    Two names are printed where only a GPU can decide between them, and the
    published defects that the call is exposed to. The lab gives its pools one
    tiny head: name the model's own with --heads and --head-dim.
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
        if heads:
            call = replace(call, num_q_heads=heads[0], num_kv_heads=heads[1])
        call = replace(call, head_dim=head_dim or call.head_dim)
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
    for _, alike in groupby(answers, key=lambda each: {**each, "flashinfer": ""}):
        _print(list(alike))


def _print(alike: list[dict[str, Any]]) -> None:
    """One answer, for the releases that give it."""
    answer, last = alike[0], alike[-1]["flashinfer"]
    until = "" if len(alike) == 1 else f" to {last}"
    click.echo(
        f"FlashInfer {answer['flashinfer']}{until}, sm_{answer['arch']}, {answer['sm_count']} SMs"
    )
    if answer["missing"]:
        click.echo(f"  no kernel exists for this call: {answer['missing']}")
    for name in answer["kernels"]:
        click.echo(f"  {name}")
    if answer["note"]:
        click.echo(f"  {answer['note']}")
    for defect in answer["defects"]:
        click.echo(f"  known defect: {defect['what']}\n    {defect['link']}")
