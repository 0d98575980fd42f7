"""`triage doctor`: what this machine has, and which hooks bind on its SGLang."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from triage.files.reports import report_json
from triage.files.text import echo


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--sglang",
    "release",
    metavar="VERSION|PATH",
    help="Ask another release. One that is not installed is read from its wheel or a checkout.",
)
@click.option("--arch", help="Answer for this GPU, such as sm_100, instead of the one here.")
@click.option("--timeout", "timeout_s", default=120.0, show_default=True, help="Seconds to wait.")
@click.option("-v", "--verbose", is_flag=True, help="List every hook.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: everything.")
@click.argument("flags", nargs=-1, type=click.UNPROCESSED, metavar="[-- SERVER_FLAGS]...")
def doctor(
    release: str | None,
    arch: str | None,
    timeout_s: float,
    verbose: bool,
    as_json: bool,
    flags: Sequence[str],
) -> None:
    """Check this machine, its environment variables and its SGLang.

    Packages are imported and every hook is bound for real, in a process that may die of it.
    The flags of `sglang.launch_server` behind `--` tell which launches the traps will see.

    \b
    Exit codes:
      0  every trap binds
      1  one does not, or SGLang cannot be imported
      2  an environment variable is not what the plugin accepts
      3  no SGLang to ask
    """
    from triage.doctor.examine import examine
    from triage.doctor.text import text

    source = None
    if release:
        from triage.doctor.release import source_of

        source = source_of(release, lambda words: echo(words, err=True))
    found = examine(
        os.environ,
        release=None if source else release,
        source=source,
        arch=arch,
        flags=flags,
        timeout_s=timeout_s,
    )
    echo(report_json("doctor", found.json(), indent=2) if as_json else text(found, verbose))
    raise SystemExit(found.exit_code)
