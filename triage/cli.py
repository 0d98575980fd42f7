"""The command line: a table of commands, each loaded only when it is called.

Exit codes, the same for every command that replays or judges a dump:
0 clean, 1 reproduced, 2 usage or unreadable dump, 3 cannot run, 4 different
fault, 5 not reproduced although the dump records a fault. A command with other
findings says its codes in its help; 2 and 3 mean the same in all of them.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import click

from triage.errors import TriageError, UnsupportedSGLang, did_you_mean
from triage.files.text import accept_any_text, printable_lines

EXIT_CODES = """\b
Exit codes of replay and minimise; 2 and 3 are those of every command:
  0  clean: ran, nothing wrong
  1  the fault is reproduced
  2  usage, or a dump that cannot be read
  3  cannot run here
  4  a different fault
  5  not reproduced, although the dump records a fault
"""


TRACEBACK = "TRIAGE_TRACEBACK"
"""Set to 1 in the environment of the command line: a mistake of ours shows where it is."""

INTERRUPTED = 130  # as a shell says it of Ctrl-C


class Command(NamedTuple):
    """Where a command lives ("module:attribute") and its line in `triage --help`."""

    entry: str
    help: str


COMMANDS = {
    "show": Command("triage.commands.show:show", "Print what a dump holds, bad entries marked."),
    "explain": Command(
        "triage.commands.explain:explain", "Name the cause of a dump, or say unknown."
    ),
    "merge": Command("triage.commands.merge:merge", "Compare the dumps of a server's ranks."),
    "report": Command("triage.commands.report:report", "Make one page that shows a fault."),
    "batch": Command("triage.commands.batch:batch", "Explain many dumps at once, as clusters."),
    "replay": Command("triage.commands.replay:replay", "Run a recorded launch again, offline."),
    "minimise": Command("triage.commands.minimise:minimise", "Shrink a dump, its failure kept."),
    "export": Command(
        "triage.commands.export:export", "Turn a dump into a test, script or workload."
    ),
    "import": Command("triage.commands.import_:import_", "Read other tools' dumps and logs."),
    "redact": Command(
        "triage.commands.redact:redact", "Take out of a dump what a stranger need not know."
    ),
    "probe": Command("triage.commands.probe:probe", "Find out which columns a GPU kernel reads."),
    "lab": Command("triage.commands.lab:lab", "SGLang's real classes on a CPU, kernel emulated."),
    "kernels": Command(
        "triage.commands.kernels_group:kernels", "Resolve, validate and bench kernels."
    ),
    "fusions": Command(
        "triage.commands.fusions:fusions", "Rank what a compiler fused, and port it."
    ),
    "doctor": Command("triage.commands.doctor:doctor", "Check this machine and its SGLang."),
    "run": Command("triage.commands.run:run", "Run a command with the traps armed."),
    "snap": Command("triage.commands.snap:snap", "Take a dump of a running server."),
    "fixes": Command("triage.commands.fixes:fixes", "List the fixes and whether they are needed."),
    "verify": Command("triage.commands.verify:verify", "Show that a fix removes a failure."),
    "workload": Command("triage.commands.workload:workload", "Make and run request workloads."),
    "quality": Command("triage.commands.quality:quality", "Compare answers before and after."),
    "pools": Command("triage.commands.pools:pools", "Work out KV pool sizes."),
}
"""Every command, in the order of `triage --help`."""


_LAB, _FLEET = "'sglang-triage[lab]'", "'sglang-triage[fleet]'"
INSTALL = {
    **dict.fromkeys(("torch", "triton", "transformers"), _LAB),
    "sglang": "--no-deps sglang==0.5.18",
    **dict.fromkeys(("httpx", "openai"), _FLEET),
    **dict.fromkeys(("fsspec", "s3fs", "pyarrow", "duckdb", "ray"), _FLEET),
    "gcsfs": "gcsfs",
    "adlfs": "adlfs",
    **dict.fromkeys(("matplotlib", "jinja2"), "'sglang-triage[report]'"),
    **dict.fromkeys(("flashinfer", "cuda"), "'sglang-triage[gpu]'"),
    **dict.fromkeys(("numpy", "msgpack", "rich"), "sglang-triage"),
}
"""Import name of what a command may need -> what pip is asked for."""


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

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not context.resilient_parsing:
            context.fail(f"No such command {name!r}{did_you_mean(name, COMMANDS)}.")
        return super().resolve_command(context, args)

    def shell_complete(
        self, context: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """The commands without loading one of them."""
        found = [
            click.shell_completion.CompletionItem(name, help=COMMANDS[name].help)
            for name in COMMANDS
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, context, incomplete)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, COMMANDS[name].help) for name in self.list_commands(context)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, context: click.Context) -> Any:
        accept_any_text()
        try:
            return super().invoke(context)
        except (click.exceptions.Exit, click.Abort):
            raise
        except click.ClickException as error:
            if (shown := printable_lines(error.message)) == error.message:
                raise
            raise click.UsageError(shown) from error
        except TriageError as error:
            refusal = CannotRun if isinstance(error, UnsupportedSGLang) else Refusal
            raise refusal(printable_lines(str(error).rstrip("\n"))) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 (what is left has no reader)
            raise click.exceptions.Exit(Refusal.exit_code) from None
        except (
            Exception
        ) as error:  # a sentence and an exit code for what is left; TRACEBACK shows all
            if isinstance(error, ImportError) and (package := _culprit(error)):
                raise CannotRun(_sentence(package, error)) from error
            if os.environ.get(TRACEBACK) == "1":
                traceback.print_exc()
            raise Defect(_where(error)) from error


def _culprit(error: ImportError) -> str | None:
    """The package of `INSTALL` that is missing, or in whose import it was raised."""
    missing = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and missing in INSTALL:
        return missing
    frame, package = error.__traceback__, None
    while frame is not None:
        name = str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        package = name if name in INSTALL else package
        frame = frame.tb_next
    return package


def _sentence(package: str, error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and package == (error.name or "").partition(".")[0]:
        return f"this needs {package}, which is not installed: pip install {INSTALL[package]}"
    said = " ".join(printable_lines(str(error)).split())
    return f"this needs {package}, which cannot be imported here: {said}; `triage doctor` says more"


class Refusal(click.ClickException):
    """One of our own errors, as the one sentence it is."""

    exit_code = 2


class Defect(Refusal):
    """A mistake of ours, told like any refusal: an error is never taken for a finding."""


class CannotRun(Refusal):
    """There is no SGLang to ask, or no package that the command is made of."""

    exit_code = 3


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "triage" in Path(frame.filename).parts] or frames
    first = next(iter(str(error).splitlines()), "")[:200]
    return printable_lines(
        f"triage itself failed: {type(error).__name__}: {first} "
        f"({Path(ours[-1].filename).name}:{ours[-1].lineno}); {TRACEBACK}=1 shows where"
    )


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
