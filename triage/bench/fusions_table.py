"""What TorchInductor fused on an H200, as a table: `python -m triage.bench.fusions_table`.

One row per pattern and kind of layer, from the captures in `docs/results/logs/fusions-h200`,
beside the same layers captured without a GPU (`tests/fusions/captures`), which is what the
tests and most users have. Made by `python -m triage.fusions.capture --target cuda`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from triage.fusions.ranking import PatternRow, rank
from triage.fusions.reader import read

H200 = Path("docs/results/logs/fusions-h200")
WITHOUT = Path("tests/fusions/captures")
LAYERS = {"dense": "31B", "moe": "26B-A4B", "ple": "E4B"}


def rows() -> Iterator[str]:
    """The lines of the table, in Markdown."""
    yield (
        "| layer | pattern | launches on the H200 | without a GPU | SGLang's chain "
        "| saves launches | saves bytes | SGLang has | we have |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for kind, model in LAYERS.items():
        without = {row.pattern: row for row in rank(read(WITHOUT / kind)).patterns}
        for row in rank(read(H200 / kind)).patterns:
            yield _line(f"{kind}, {model}", row, without.get(row.pattern))


def _line(layer: str, row: PatternRow, without: PatternRow | None) -> str:
    cells = (
        layer,
        row.pattern,
        f"{row.captured_launches:.3g}",
        f"{without.captured_launches:.3g}" if without else "",
        row.chain_launches,
        row.saved_launches,
        row.saved_bytes,
        row.sglang,
        row.ours,
    )
    return "| " + " | ".join(map(str, cells)) + " |"


@click.command()
def main() -> None:
    """Print the table."""
    for line in rows():
        click.echo(line)


if __name__ == "__main__":
    main()
