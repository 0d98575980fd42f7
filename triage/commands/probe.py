"""`triage probe`."""

from __future__ import annotations

from pathlib import Path

import click

from triage.commands.completion import names, replay_kernels
from triage.commands.options import force_option
from triage.commands.progress import counted
from triage.commands.written import json_option
from triage.errors import ReplayError, did_you_mean
from triage.files.reports import report_json
from triage.files.text import echo, to_json
from triage.files.writing import check_output, write_output
from triage.replay.engine import DEFAULT_TIMEOUT_S
from triage.replay.kernels import KERNELS
from triage.replay.probe import Geometry
from triage.replay.probe import probe as probe_kernel
from triage.replay.verdict import EXIT_CANNOT_RUN

_USUAL = Geometry()


@click.command()
@click.option(
    "--kernel",
    default="trtllm-gen",
    show_default=True,
    shell_complete=names(replay_kernels),
    help="Kernel to probe.",
)
@click.option("--length", default=_USUAL.length, show_default=True, help="Tokens of the row.")
@click.option("--window", default=_USUAL.window, show_default=True, help="Keys visible; 0: all.")
@click.option("--page-size", default=_USUAL.page_size, show_default=True)
@click.option("--q-len", default=_USUAL.q_len, show_default=True, help="Query tokens.")
@click.option("--head-dim", default=_USUAL.head_dim, show_default=True)
@click.option("--width", default=_USUAL.width, show_default=True, help="Columns of the table.")
@click.option("--timeout", default=DEFAULT_TIMEOUT_S, show_default=True, help="Seconds a launch.")
@click.option("--jobs", default=4, show_default=True, help="Launches at a time.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the result as JSON.")
@force_option
@json_option
def probe(
    kernel: str,
    timeout: float,
    jobs: int,
    output: Path | None,
    force: bool,
    as_json: bool,
    **geometry: int,
) -> None:
    """Put bad page ids into the columns of a table and see which ones a kernel dereferences.

    Needs the kernel's GPU, FlashInfer and cuda-python (for the guard pages).
    Every launch that faults ends its own process only. The result settles what
    the emulator can but bracket; please send it back.
    """
    if output is not None:
        check_output(output, force=force)
    if kernel not in KERNELS:
        raise ReplayError(
            f"unknown kernel {kernel!r}{did_you_mean(kernel, KERNELS)}; known: {', '.join(KERNELS)}"
        )

    found = counted(
        "probe: columns",
        lambda tell: probe_kernel(
            kernel, Geometry(**geometry), timeout_s=timeout, jobs=jobs, progress=tell
        ),
    )
    settled = [each for each in found["columns"] if each["dereferenced"] is not None]
    for each in () if as_json else settled:
        answer = "read" if each["dereferenced"] else "not read"
        echo(f"  column {each['column']:>3}  {each['expected']:<8}{answer}")
    echo(
        report_json("probe", found)
        if as_json
        else f"{found['reading']} (launches: {found['launches']})"
    )
    if output is not None:
        written = write_output(output, to_json(found, indent=1).encode() + b"\n", force=force)
        echo(f"wrote {written}", err=as_json)
    if any(each["dereferenced"] is None for each in found["columns"]):
        raise SystemExit(EXIT_CANNOT_RUN)
