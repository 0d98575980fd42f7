"""The command line: a table of commands, each loaded only when it is called.

Exit codes, the same for every command that replays or judges a dump:
0 clean, 1 reproduced, 2 usage or unreadable dump, 3 cannot run, 4 different
fault, 5 not reproduced although the dump records a fault. A command with other
findings says its codes in its help; 2 and 3 mean the same in all of them.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import click

from triage.errors import TriageError, UnsupportedSGLang
from triage.printable import printable

EXIT_CODES = """\b
Exit codes of replay and minimise; 2 and 3 are those of every command:
  0  clean: ran, nothing wrong
  1  the fault is reproduced
  2  usage, or a dump that cannot be read
  3  cannot run here
  4  a different fault
  5  not reproduced, although the dump records a fault
"""


class Command(NamedTuple):
    """Where a command lives ("module:attribute") and its line in `triage --help`."""

    entry: str
    help: str


COMMANDS = {
    "show": Command("triage.commands.show:show", "Print what a dump holds, bad entries marked."),
    "explain": Command(
        "triage.commands.explain:explain", "Name the cause of a dump, or say unknown."
    ),
    "replay": Command("triage.commands.replay:replay", "Run a recorded launch again, offline."),
    "minimise": Command("triage.commands.minimise:minimise", "Shrink a dump, its failure kept."),
    "export": Command(
        "triage.commands.export:export", "Turn a dump into a test, script or workload."
    ),
    "import": Command("triage.commands.import_:import_", "Read other tools' dumps and logs."),
    "probe": Command("triage.commands.probe:probe", "Find out which columns a GPU kernel reads."),
    "lab": Command("triage.lab.cli:lab", "SGLang's real classes on a CPU, kernel emulated."),
    "kernels": Command(
        "triage.commands.kernels_group:kernels", "Resolve, validate and bench kernels."
    ),
    "fusions": Command(
        "triage.commands.fusions:fusions", "Rank what a compiler fused, and port it."
    ),
    "doctor": Command("triage.commands.doctor:doctor", "Check this machine and its SGLang."),
    "snap": Command("triage.commands.snap:snap", "Take a dump of a running server."),
    "fixes": Command("triage.commands.fixes:fixes", "List the fixes and whether they are needed."),
    "verify": Command("triage.commands.verify:verify", "Show that a fix removes a failure."),
    "workload": Command("triage.commands.workload:workload", "Make and run request workloads."),
    "quality": Command("triage.commands.quality:quality", "Compare answers before and after."),
    "pools": Command("triage.commands.pools:pools", "Work out KV pool sizes."),
}
"""Every command, in the order of `triage --help`."""


class LazyGroup(click.Group):
    """Loads a command's module on its first use, and turns our errors into click's."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].entry.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, COMMANDS[name].help) for name in self.list_commands(context)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except TriageError as error:
            refusal = CannotRun if isinstance(error, UnsupportedSGLang) else Refusal
            raise refusal(printable(str(error).rstrip("\n"))) from error


class Refusal(click.ClickException):
    """One of our own errors, as the one sentence it is."""

    exit_code = 2


class CannotRun(Refusal):
    """There is no SGLang to ask."""

    exit_code = 3


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        import triage

        click.echo(f"triage {triage.__version__}")
        context.exit()


@click.group(
    cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version)
def main() -> None:
    """Triage of KV-cache faults of SGLang: trap, dump, replay, explain."""


if __name__ == "__main__":
    main()
