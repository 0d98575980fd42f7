"""`triage kernels resolve`."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from triage.commands.completion import flashinfer_releases, names
from triage.files.reports import report_json
from triage.files.text import echo

SMALLEST_HEAD = 32
"""Narrower than any head of a model that trtllm-gen is asked for."""


@click.command()
@click.argument("dump", type=click.Path(path_type=Path))
@click.option(
    "--flashinfer",
    "version",
    default="",
    shell_complete=names(flashinfer_releases),
    help="Release; else the recorded one.",
)
@click.option("--arch", type=click.Choice(["100", "103"]), help="GPU; else as recorded.")
@click.option("--heads", nargs=2, type=click.IntRange(1), help="Query and KV heads to assume.")
@click.option("--head-dim", type=click.IntRange(1), help="Likewise.")
@click.option("--sm-count", default=0, help="SMs of the GPU; else the recorded ones, or 148.")
@click.option(
    "--table", type=click.Path(path_type=Path), help="The release's own flashInferMetaInfo.h."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def resolve(
    dump: Path,
    version: str,
    arch: str | None,
    heads: tuple[int, int] | None,
    head_dim: int | None,
    sm_count: int,
    table: Path | None,
    as_json: bool,
) -> None:
    """Name the trtllm-gen kernel that the launch in DUMP selects, per FlashInfer release.

    Two names are printed where only a GPU can decide between them, and the
    published defects that the call is exposed to. A release whose kernel table
    is in no package is answered from the nearest one, which is said. The lab
    gives its pools one tiny head: name the model's own with --heads and --head-dim.
    """
    from triage.dump.file import read_dump
    from triage.errors import ReplayError
    from triage.resolver import call_of, known_versions, recorded_version
    from triage.resolver import resolve as resolve_call
    from triage.resolver.defects import defects_of
    from triage.resolver.extract import read_kernels
    from triage.resolver.pins import choose, dotted, installed, parse_version

    recorded = read_dump(dump)
    wanted = parse_version(version) if version else recorded_version(recorded)
    if table is not None and wanted is None:
        raise ReplayError("--table is one release's: name it with --flashinfer")
    kernels = read_kernels(table) if table is not None else ()
    here = installed()
    answers: list[dict[str, Any]] = []
    for release in [wanted] if wanted else known_versions():
        call = call_of(recorded, release, arch=arch or "", sm_count=sm_count)
        if heads:
            call = replace(call, num_q_heads=heads[0], num_kv_heads=heads[1])
        call = replace(call, head_dim=head_dim or call.head_dim)
        answer: dict[str, Any] = {
            "flashinfer": dotted(release),
            "arch": call.arch,
            "sm_count": call.sm_count,
        }
        if table is None:
            chosen = choose(release)
            answer["kernel_set"] = {**chosen._asdict(), "exact": chosen.exact}
            answer["table"] = chosen.sentence
        else:
            answer["table"] = f"these names are of {table}"
        answers.append(answer)
        try:
            found = resolve_call(call, kernels)
        except ReplayError as refusal:
            if wanted:
                raise
            answer |= {"refused": str(refusal)}
            continue
        answer |= {
            "kernels": [kernel.name for kernel in found.candidates],
            "splits": found.splits,
            "missing": found.missing,
            "note": found.note,
            "defects": [{"link": each.link, "what": each.what} for each in defects_of(call, found)],
        }
    if as_json:
        beside = None if here is None else here._asdict()
        echo(report_json("resolve", [each | {"installed": beside} for each in answers], indent=2))
        return
    for _, alike in groupby(answers, key=lambda each: {**each, "flashinfer": ""}):
        _print(list(alike))
    if head_dim is None and answers[-1].get("missing") and call.head_dim < SMALLEST_HEAD:
        echo(
            f"the dump's heads are {call.head_dim} wide, as the lab's are: "
            "name the model's own with --heads and --head-dim"
        )
    if here is not None:
        echo(here.sentence)


def _print(alike: list[dict[str, Any]]) -> None:
    """One answer, for the releases that give it."""
    answer, last = alike[0], alike[-1]["flashinfer"]
    until = "" if len(alike) == 1 else f" to {last}"
    echo(f"FlashInfer {answer['flashinfer']}{until}, sm_{answer['arch']}, {answer['sm_count']} SMs")
    if answer.get("refused"):
        echo(f"  not resolved: {answer['refused']}")
        return
    if answer["missing"]:
        whose = "exists" if answer.get("kernel_set", {}).get("exact", True) else "is listed"
        echo(f"  no kernel {whose} for this call: {answer['missing']}")
    for name in answer["kernels"]:
        echo(f"  {name}")
    for line in (answer["note"], answer["table"]):
        if line:
            echo(f"  {line}")
    for defect in answer["defects"]:
        echo(f"  known defect: {defect['what']}\n    {defect['link']}")
