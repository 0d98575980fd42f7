"""Hands events of many forms to Triton as a GPU would get them. Prints how often it compiled.

The driver is a stand-in as in `launch_child.py`: binding and specialisation are Triton's own.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from triton.runtime import driver

from tests.device.launch_child import NoGPU
from triage.device import page_note_kernels
from triage.sglang.allocator.page_device_log import DeviceLog
from triage.sglang.allocator.page_log import Noted


class Bound:
    """The kernel, whose launches are bound and compiled and not made."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.made = kernel, set[str]()

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*args: Any) -> None:
            self.made.add(self.kernel.run(*args, grid=grid, warmup=True).hash)

        return launch


def main() -> None:
    driver.set_active(NoGPU())
    bound = Bound(page_note_kernels.note_pages_kernel)
    page_note_kernels.note_pages_kernel = bound
    logs = [DeviceLog(5, pages, size, "cpu") for pages, size in ((40, 1), (4096, 64), (10**6, 16))]
    first = len(bound.made)
    for log in logs:
        for number, step in enumerate((0, 1, 10**8)):
            for dtype in (torch.int32, torch.int64):
                table = torch.zeros(4, 5000, dtype=dtype)
                for slots in (table[0, :1], table[1, 3:2051], table[:, 1], table[0, ::64]):
                    for key in (None, (1, (), len(slots))):
                        event = Noted(number, step % 5, step << 35 | 77, bool(step), key)
                        log.add(event, slots)
                        log.add_with(event, slots, logs[0], event, table[2, :7])
    json.dump([first, len(bound.made)], sys.stdout)


if __name__ == "__main__":
    main()
