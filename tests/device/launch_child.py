"""Hands the launches of two forwards to Triton as a GPU would get them. Prints them as JSON.

The driver is a stand-in that names an architecture, and a launch ends before anything is
loaded. Binding the arguments, which are passed by position, their specialisation and the
compilation are Triton's own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from tests.watch.forward import Forward, armed, renewed
from triage.device import launches
from triage.lab.decode_step import Step


class NoGPU:
    """Triton's driver interface, as far as a launch that is not executed asks it."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 100, 32)


class Compiled:
    """A kernel whose launches are bound and compiled."""

    def __init__(self, kernel: Any, told: list[dict[str, Any]]) -> None:
        self.kernel, self.told = kernel, told

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*args: Any) -> None:
            made = self.kernel.run(*args, grid=grid, warmup=True)
            constants = {
                self.kernel.arg_names[place]: value
                for (place,), value in made.src.constants.items()
                if self.kernel.params[place].is_constexpr
            }
            self.told.append(
                {
                    "kernel": self.kernel.fn.__name__,
                    "target": made.metadata.target.arch,
                    "bytes": len(made.asm["cubin"]),
                    "constants": constants,
                }
            )

        return launch


def main() -> None:
    driver.set_active(NoGPU())
    told: list[dict[str, Any]] = []
    for name in ("check_table_kernel", "check_writes_kernel", "record_kernel"):
        setattr(launches, name, Compiled(getattr(launches, name), told))
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, tempfile.mkdtemp())
    watch = traps.launches.watching.watch
    watch.checker._eager = watch.recorder._eager = False
    forward = Forward(step, traps)
    forward.layers()
    renewed(step)
    forward.new_metadata()
    traps.launches.forget_tables(step.backend)
    forward.layers()
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
