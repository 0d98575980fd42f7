"""Pools of real servers against `triage pools`: a stored log each, the model's config beside it.

    python -m triage.bench.pools_table docs/results/logs/pools
    python -m triage.bench.pools_table docs/results/logs/pools --keep NAME=FOLDER

The first prints the table; the second stores what the log of a server of `triage lab serve --dir
FOLDER` says of its pools, as NAME.log and NAME.json, and prints it too.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from triage.errors import TriageError
from triage.fleet import pool_log
from triage.fleet.pool_sizes import model_of

_FLAGS = (
    "context_length|mem_fraction_static|max_running_requests|max_total_tokens|page_size|"
    "swa_full_tokens_ratio|kv_cache_dtype"
)
_LINES = re.compile(
    r"Load weight (begin|end)|Use sliding window|KV Cache is allocated|SWAKVPool|"
    r"larger than the profiled|Memory pool end|max_total_num_tokens="
)


def kept(log: str) -> str:
    """The lines of a server's log that are about its pools; of its flags what they follow from."""
    lines = []
    for line in log.splitlines():
        if "server_args=" in line:
            head = line[: line.index("server_args=")]
            flags = ", ".join(re.findall(rf"\b(?:{_FLAGS})=[^,)]+", line))
            lines.append(f"{head}server_args=ServerArgs({flags})")
        elif _LINES.search(line):
            lines.append(line)
    return "\n".join(lines) + "\n"


def row(log: Path) -> str:
    """The Markdown row of a stored log."""
    logged = pool_log.read(log.read_text())
    config = json.loads(log.with_suffix(".json").read_text())
    found = pool_log.compare(logged, model_of(config, logged.dtype))
    limit = f"{logged.wanted:,} asked for" if logged.wanted else "memory"
    spread = (
        f"{found.least:,} to {found.most:,}" if found.least != found.most else f"{found.most:,}"
    )
    cells = (
        log.stem,
        logged.ratio,
        limit,
        f"{logged.gib:.2f}",
        f"{logged.full:,}",
        spread,
        f"{logged.swa:,}",
        f"{found.swa:,}",
        f"{logged.full_gib:.2f} + {logged.swa_gib:.2f}",
        f"{found.full_gib:.3f} + {found.swa_gib:.3f}",
        "equal" if found.equal else "; ".join(found.differ),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--keep", metavar="NAME=FOLDER", help="Store the log of a `lab serve --dir FOLDER`.")
def main(folder: Path, keep: str | None) -> None:
    if keep is not None:
        name, _, served = keep.partition("=")
        text = kept((Path(served) / "server.log").read_text(errors="replace"))
        pool_log.read(text)
        (folder / f"{name}.log").write_text(text)
        config = (Path(served) / "target" / "config.json").read_text().rstrip()
        (folder / f"{name}.json").write_text(config + "\n")
    click.echo(
        "| Server | Ratio | Limit | GiB, logged | Full tokens, logged | worked out "
        "| SWA tokens, logged | worked out | GiB of full + SWA, logged | worked out | |"
    )
    click.echo("|" + "---|" * 11)
    for log in sorted(folder.glob("*.log")):
        click.echo(row(log))


if __name__ == "__main__":
    try:
        main(standalone_mode=True)
    except TriageError as error:
        raise SystemExit(str(error)) from error
