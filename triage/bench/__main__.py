"""`python -m triage.bench`: measure every figure, print a table, write JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from triage.bench.figure import Figure

E4B_DUMP = Path("dumps/e4b_stale_swa_state.msgpack")
FAULT_DUMP = Path("dumps/e4b_out_of_range.msgpack")


def subjects() -> dict[str, Callable[[], list[Figure]]]:
    from triage.bench import (
        batch_speed,
        cold_start,
        default_checks_cost,
        device_cost,
        dump_size,
        family_cost,
        flashinfer_replay,
        large_log,
        page_history_cost,
        replay_speed,
        trap_cost,
        watch_cost,
    )

    return {
        "cold-start": lambda: cold_start.figures(E4B_DUMP),
        "large-log": large_log.figures,
        "dump-size": lambda: dump_size.figures(E4B_DUMP),
        "replay-speed": lambda: replay_speed.figures(E4B_DUMP),
        "flashinfer-replay": lambda: flashinfer_replay.figures(FAULT_DUMP),
        "trap-cost": trap_cost.figures,
        "watch-cost": watch_cost.figures,
        "device-cost": device_cost.figures,
        "default-checks": default_checks_cost.figures,
        "family-cost": family_cost.figures,
        "page-histories": page_history_cost.figures,
        "batch": lambda: batch_speed.figures(E4B_DUMP),
    }


@click.command()
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures here.")
@click.argument("only", nargs=-1)
def main(path: Path | None, only: tuple[str, ...]) -> None:
    """Measure the figures of docs/results/figures.md. Exit code 1 if one misses its bar."""
    found = list(_measure(only))
    width = max(len(figure.name) for figure in found)
    for figure in found:
        verdict = {True: "ok", False: "MISSED", None: ""}[figure.met]
        value = f"{'-':>10}" if figure.value is None else f"{figure.value:10.4g}"
        click.echo(
            f"{figure.name:{width}}  {value} {figure.unit:6} "
            f"{figure.bar:14} {verdict:7} {figure.beside}"
        )
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([figure.json() for figure in found], indent=1))
        click.echo(f"written: {path}")
    raise SystemExit(1 if any(figure.met is False for figure in found) else 0)


def _measure(only: tuple[str, ...]) -> Iterator[Figure]:
    known = subjects()
    for name in only:
        if name not in known:
            raise click.UsageError(f"no subject {name!r}; known: {', '.join(known)}")
    for name, figures in known.items():
        if not only or name in only:
            click.echo(f"measuring {name} ...", err=True)
            yield from figures()


if __name__ == "__main__":
    main()
