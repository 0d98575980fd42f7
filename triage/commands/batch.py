"""`triage batch`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from triage.commands.engine_options import engine_options
from triage.commands.options import WholeHelp, force_option
from triage.commands.progress import Tell, progress
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import check_output, write_output
from triage.replay.kernels import EMULATOR, ON_A_CPU

if TYPE_CHECKING:
    from triage.batch.clusters import Cluster, Overview
    from triage.batch.run import Batch, Told

SHOWN = 20
"""Clusters on a terminal; all are in --json and on the page."""


class _SourceOrCommand(WholeHelp):
    """`triage batch SOURCE...` explains; `triage batch report FILE` is a command of its own."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(context, args)


@click.group(cls=_SourceOrCommand)
def batch() -> None:
    """Explain many dumps at once: `triage batch SOURCE...`, and see them as clusters.

    \b
    SOURCE is a folder, a glob, a dump, a .zip, or any URL of fsspec:
      triage batch /var/dumps
      triage batch s3://bucket/dumps --engine ray
    """


@batch.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--out",
    "results",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("results.parquet"),
    show_default=True,
    help="Parquet file of a row for each object; a second run adds what is new.",
)
@engine_options
@click.option("--replay", is_flag=True, help="Replay each dump as well, on --kernel.")
@click.option(
    "--kernel",
    type=click.Choice(ON_A_CPU),
    default=EMULATOR,
    show_default=True,
    help="What --replay runs: the emulator deduces; the others execute, seconds a dump.",
)
@click.option(
    "--exemplars/--no-exemplars",
    default=True,
    show_default=True,
    help="Keep one minimal dump of each cluster beside the results.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def run(
    sources: tuple[str, ...],
    results: Path,
    engine: str,
    workers: int | None,
    replay: bool,
    kernel: str,
    exemplars: bool,
    as_json: bool,
) -> None:
    """Read and explain every dump of SOURCE..., and sort them into clusters.

    The same command again reads only what is new or was changed. A file that is no dump, or a
    damaged one, is a row with its error. Exit code: 0 all could be read, 2 not, 3 cannot run.
    """
    from triage.batch.run import run as run_batch
    from triage.engines import engine as engine_of

    with progress("dumps") as tell:
        found = run_batch(
            sources,
            results,
            lambda: engine_of(engine, workers),
            replay=kernel if replay else "",
            minimal=exemplars,
            tell=_telling(tell),
        )
    if as_json:
        echo(report_json("batch", _as_dict(found), indent=1))
    else:
        _print(found)
    raise SystemExit(2 if found.overview.unread or found.problems else 0)


@batch.command()
@click.argument("results", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The page, one HTML file.")
@click.option("--json", "as_json", is_flag=True, help="Print the clusters as JSON.")
@force_option
def report(results: Path, output: Path | None, as_json: bool, force: bool) -> None:
    """Make one page of RESULTS, a file that `triage batch` wrote: clusters, trend, versions."""
    if output is None and not as_json:
        raise click.UsageError("name what to make: -o page.html or --json")
    if output is not None:
        check_output(output, force=force, inputs=(results,))
    from triage.batch import exemplars
    from triage.batch.clusters import overview
    from triage.batch.results import read_table

    found = overview(read_table(results))
    exemplars.find(found.clusters, results)
    if output is not None:
        from triage.batch.page import html

        page = html(found, results, output.parent)
        written = write_output(output, page, force=force, inputs=(results,))
        echo(f"wrote {written}; next: open it in a browser", err=as_json)
    if as_json:
        echo(report_json("batch-report", found.as_dict(), indent=1))


def _telling(tell: Tell) -> Any:
    def told(now: Told) -> None:
        rate = f"{now.rate:,.0f} a second" if now.rate else now.now
        tell(now.done, now.of or None, rate)

    return told


def _as_dict(found: Batch) -> dict[str, Any]:
    plain = asdict(found)
    return {**plain, "results": str(found.results), "overview": found.overview.as_dict()}


def _print(found: Batch) -> None:
    seen = found.overview
    rate = f", {found.made / found.seconds:,.0f} a second" if found.made and found.seconds else ""
    echo(
        f"{found.made} objects read with engine {found.engine} in {found.seconds:.1f} s{rate}; "
        f"{found.known} known from before"
    )
    for line in (*_sentences(seen), *_beside(found)):
        echo(f"  {line}")
    if seen.clusters:
        echo(f"{len(seen.clusters)} clusters, what is frequent and recent first:")
    for place, each in enumerate(seen.clusters[:SHOWN], 1):
        for line in _cluster(place, each):
            echo(line)
    if len(seen.clusters) > SHOWN:
        echo(f"{len(seen.clusters) - SHOWN} more clusters; triage batch report lists all")
    first = next((each for each in seen.clusters if each.minimal), None)
    echo(f"wrote {found.results}")
    if first is not None:
        echo(f"next: triage explain {quote(first.minimal)}")
    echo(f"next: triage batch report {quote(str(found.results))} -o batch.html")


def _sentences(seen: Overview) -> list[str]:
    versions = ", ".join(f"{name}: {n}" for name, n in sorted(seen.format_versions.items()))
    lines = [
        f"{seen.objects} objects in all: {seen.copies} copies of another, {seen.clean} in which "
        f"nothing is wrong, {seen.unread} that could not be read",
        f"dump formats: {versions}",
    ]
    if ahead := seen.clocks["ahead of the store's"]:
        lines.append(f"{ahead} written by a clock that is ahead of the store's, whose time is used")
    lines += [f"{count} not read: {why}" for why, count in seen.errors.most_common(5)]
    if len(seen.errors) > 5:
        lines.append(f"{len(seen.errors) - 5} more reasons; --json has all")
    return lines


def _beside(found: Batch) -> list[str]:
    lines = [f"{count} files passed over: {why}" for why, count in found.passed_over.items()]
    lines += list(found.problems.values())
    return [*lines, *(f"no minimal dump of {key}: {why}" for key, why in found.no_exemplar.items())]


def _cluster(place: int, each: Cluster) -> list[str]:
    last = "when is not recorded"
    if each.last_seen is not None:
        last = f"{each.recent} in seven days, last {each.last_seen:%Y-%m-%d %H:%M} UTC"
    dumps = "1 dump" if each.count == 1 else f"{each.count} dumps"
    copies = f" (+{each.copies} copied)" if each.copies else ""
    cause = f"{each.cause} ({each.confidence})" if each.confidence else each.cause
    return [
        f"{place:3}. {each.signature}  {dumps}{copies}, {last}: {cause}",
        f"     {each.invariant or 'no invariant'}, {each.layer_kind or 'no'} layer, "
        f"{each.call_site or 'no call recorded'}; {each.versions or 'versions not recorded'}",
    ]
