"""Launches of page histories as Triton's launcher gets them, directly and in the ordinary way.

The driver is a stand-in as in `launch_child.py` whose launcher writes down what it is called
with; binding, specialisation and compilation are Triton's own. Prints JSON: was it direct, how
many launches, and those that differ.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import torch
from triton.runtime import driver

from tests.device.launch_child import NoGPU
from triage.device import page_note_kernels
from triage.device.direct_launches import DirectLaunch
from triage.sglang.allocator.page_device_log import DeviceLog
from triage.sglang.allocator.page_log import Noted

told: list[tuple[Any, ...]] = []
STREAM = 77


class Launcher:
    def __init__(self, source: Any, metadata: Any) -> None:
        pass

    def __call__(self, *arguments: Any) -> None:
        told.append(arguments)


class NoLaunch(NoGPU):
    launcher_cls = Launcher
    utils = SimpleNamespace(
        get_device_properties=lambda device: {"max_shared_mem": 232448},
        load_binary=lambda *_: (object(), 4711, 0, 0, 1024),
    )

    def get_current_stream(self, device: int) -> int:
        return STREAM + device


def main() -> None:
    driver.set_active(NoLaunch())
    logs = [DeviceLog(5, pages, size, "cpu") for pages, size in ((4096, 64), (100, 1))]
    launch = logs[0]._launch
    assert isinstance(launch, DirectLaunch)
    kernel, differ, pairs = page_note_kernels.note_pages_kernel, [], 0
    told.clear()
    table = torch.arange(6000)
    for number, slots in enumerate((table, table[3::7], table.to(torch.int32)[1:2])):
        event = Noted(number, number, number << 40 | 9, bool(number), None)
        logs[0].add(event, slots)
        logs[0].add_with(event, slots, logs[1], event, table[:2])
    for made in list(told):
        # grid, stream, function, metadata, what a profiler is told by, the kernel's arguments
        told.clear()
        kernel[made[:2]](*made[9:])
        (ordinary,) = told
        pairs += 1
        if made[:6] + made[9:] != ordinary[:6] + ordinary[9:] or made[3] != STREAM:
            differ.append(repr((made, ordinary)))
    json.dump([launch.direct, pairs, differ], sys.stdout)


if __name__ == "__main__":
    main()
