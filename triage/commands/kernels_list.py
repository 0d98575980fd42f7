"""`triage kernels list`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from triage.commands.kernels_options import ALSO, DEVICE, JSON, loaded, prepare
from triage.commands.progress import Tell, progress
from triage.files.reports import report_json
from triage.files.text import echo


@click.command("list")
@DEVICE
@JSON
@ALSO
def list_(device: str, as_json: bool, also: tuple[Path, ...]) -> None:
    """Kernels, their providers and variants, and where the installed SGLang defines them."""
    with progress("kernels") as tell:
        tell(0, now="loading them")
        records = _records(device, also, tell)
    if as_json:
        echo(report_json("kernels-list", records, indent=2))
        return
    for record in records:
        echo(f"{record['op']}  {record['formula']}")
        echo(f"    launches {record['launches']}; variants {', '.join(record['variants'])}")
        for name, state in record["providers"].items():
            echo(f"    {name:7} {state}")
        if record["sglang"].endswith(")"):  # a file and its release; else why there is none
            echo(f"    sglang defines it in: {record['sglang']}")


def _records(device: str, also: tuple[Path, ...], tell: Tell) -> list[dict[str, Any]]:
    prepare(device)
    from triage_kernels.validate.providers import PROVIDERS, Unavailable, locate, resolve
    from triage_kernels.validate.registry import KERNELS

    records: list[dict[str, Any]] = []
    specs = (*KERNELS, *loaded(also))
    for spec in specs:
        tell(len(records), len(specs), now=spec.name)
        found = {name: resolve(name, spec, device) for name in PROVIDERS}
        place = locate(spec.name)
        records.append(
            {
                "op": spec.name,
                "formula": spec.summary,
                "launches": spec.launches_replaced,
                "variants": sorted({c.variant for c in spec.cases}),
                "cases": [c.name for c in spec.cases],
                "outputs": {o.name: o.rounding for o in spec.outputs},
                "providers": {
                    name: f"CANNOT_RUN: {f.reason}" if isinstance(f, Unavailable) else "ready"
                    for name, f in found.items()
                },
                "sglang": place.reason
                if isinstance(place, Unavailable)
                else f"{place.relative} ({place.version})",
            }
        )
    return records
