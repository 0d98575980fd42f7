"""`triage doctor`: what this machine has, and which hooks bind on its SGLang."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import click

from triage.commands.completion import architectures, names, release_names
from triage.commands.progress import progress
from triage.files.reports import report_json
from triage.files.text import echo


def _architecture(
    context: click.Context, parameter: click.Parameter, given: str | None
) -> str | None:
    """`sm100` and `100` are sm_100: what is not known would be answered for another GPU."""
    if given is None or context.resilient_parsing:
        return given
    number = re.fullmatch(r"(?:sm_?)?([1-9]\d{1,2})[af]?", given.strip().lower())
    if number is None:
        raise click.BadParameter(
            f"{given!r} is no GPU architecture; such as {', '.join(architectures())}"
        )
    return f"sm_{number[1]}"


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--sglang",
    "release",
    metavar="VERSION|PATH",
    shell_complete=names(release_names, files=True),
    help="Ask another release. One that is not installed is read from its wheel or a checkout.",
)
@click.option(
    "--self-test", "plant", is_flag=True, help="Plant a wrong page id: does a trap fire here?"
)
@click.option(
    "--arch",
    callback=_architecture,
    shell_complete=names(architectures),
    help="Answer for this GPU, such as sm_100, instead of the one here.",
)
@click.option("--timeout", "timeout_s", default=120.0, show_default=True, help="Seconds to wait.")
@click.option(
    "--wait", is_flag=True, help="For SGLang's import, where it takes more than 7 seconds."
)
@click.option("-v", "--verbose", is_flag=True, help="List every hook.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: everything.")
@click.argument("flags", nargs=-1, type=click.UNPROCESSED, metavar="[-- SERVER_FLAGS]...")
def doctor(
    release: str | None,
    plant: bool,
    arch: str | None,
    timeout_s: float,
    wait: bool,
    verbose: bool,
    as_json: bool,
    flags: Sequence[str],
) -> None:
    """Check this machine, its environment variables and its SGLang.

    Packages are imported and every hook is bound for real, in a process that may die of it.
    Where that takes more than 7 seconds, what binds is read from SGLang's source instead, and
    said so; --wait waits for it, and so do --self-test, fixes, fused ops and flags.
    With --self-test a wrong page id is planted in throw-away processes besides, and it is said
    whether a trap fires: below SGLang's own classes, and on the GPU if there is one.
    The flags of `sglang.launch_server` behind `--` tell which launches the traps will see.

    \b
    Exit codes:
      0  every trap binds
      1  one does not, or SGLang (where there is a GPU, its scheduler too) cannot be imported,
         or the self-test found a trap silent
      2  the plugin refuses an environment variable, or SGLang a flag
      3  no SGLang to ask
    """
    from triage.doctor.child import FOUND
    from triage.doctor.examine import examine
    from triage.doctor.self_test import Shown, exit_code, lines, self_test
    from triage.doctor.text import text, verdict

    source = None
    if release:
        from triage.doctor.release import source_of

        source = source_of(release, lambda words: echo(words, err=True))
    if plant and source is not None:
        raise click.UsageError("--self-test runs SGLang, and this release is only read")
    shown: tuple[Shown, ...] = ()
    with progress("doctor", 3 if plant else 1) as tell:
        tell(0, now="this machine and its SGLang")
        found = examine(
            os.environ,
            release=None if source else release,
            source=source,
            arch=arch,
            flags=flags,
            timeout_s=timeout_s,
            wait=wait or plant,
        )
        if plant:
            here = found.stages["gpu"]["state"] == FOUND
            shown = self_test(
                os.environ,
                gpu=here,
                release=release,
                timeout_s=timeout_s,
                progress=lambda done, now: tell(1 + done, now=now),
            )
    code = exit_code(shown) if plant else 0
    if as_json:
        tests = {"self_test": [each.json() for each in shown]} if plant else {}
        echo(report_json("doctor", found.json() | tests, indent=2))
    else:
        echo("\n".join([text(found, verbose), *lines(shown), verdict(found, code)]))
    raise SystemExit(found.exit_code or code)
