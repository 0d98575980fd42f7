"""`triage kernels`: the group of commands that are thin over `triage_kernels`.

torch and triton are imported inside the commands: a CPU run needs Triton's interpreter,
which has to be chosen before triton is imported, and `--help` needs neither.
"""

from __future__ import annotations

from typing import Any

import click

from triage.commands.kernels_aot import aot
from triage.commands.kernels_bench import bench
from triage.commands.kernels_list import list_
from triage.commands.kernels_mutants import mutants
from triage.commands.kernels_sanitize import sanitize
from triage.commands.kernels_tune import tune
from triage.commands.kernels_validate import validate
from triage.commands.options import WholeHelp
from triage.commands.resolve import resolve


class _Named(WholeHelp):
    """A name that no kernel, check, variant or contender has is a usage error."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LookupError as error:
            from triage_kernels.core.errors import UnknownNameError

            if isinstance(error, UnknownNameError):
                raise click.UsageError(str(error)) from error
            raise


@click.group(cls=_Named)
def kernels() -> None:
    """Fused Gemma-4 kernels: list, validate, compile ahead of time, bench.

    \b
    Exit codes:
      0  everything that ran passed
      1  something failed
      2  usage
      3  nothing could run
    """


for _command in (list_, validate, sanitize, aot, bench, tune, mutants, resolve):
    kernels.add_command(_command)
