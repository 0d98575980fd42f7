"""Triton's interpreter, sped up: the same numbers from the same kernel, at less cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from triage.lab.interpreter import _with_index

_CHILD = """
import json, time
import torch, triton
import triton.language as tl
from triage.lab import interpreter

@triton.jit
def kernel(table, lengths, out, total, stride: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    length = tl.load(lengths + row)
    pages = tl.cdiv(length, 16)
    column = tl.arange(0, BLOCK)
    mask = column < pages
    slot = tl.load(table + row.to(tl.int64) * stride + column, mask=mask, other=-1)
    big = (slot + 2147483000).to(tl.int64) * 3
    tl.store(out + row * BLOCK + column, tl.where(mask, big, tl.minimum(slot, -7)))
    tl.store(total + row, tl.sum(tl.where(mask, slot, 0)) // 16)

def run():
    table = torch.arange(4 * 8, dtype=torch.int32).view(4, 8) * 1000
    lengths = torch.tensor([0, 1, 17, 128])
    out, total = torch.zeros(4, 8, dtype=torch.int64), torch.zeros(4, dtype=torch.int32)
    start = time.process_time()
    for _ in range(20):
        kernel[(4,)](table, lengths, out, total, 8, BLOCK=8)
    return out.tolist(), total.tolist(), time.process_time() - start

plain = run()
interpreter.speed_up()
interpreter.speed_up()
fast = run()
print(json.dumps({"same": plain[:2] == fast[:2], "ratio": fast[2] / plain[2],
                  "wrapped": min(map(min, fast[0]))}))
"""


def test_a_sped_up_kernel_gives_the_same_numbers_sooner(tmp_path: Path):
    # GIVEN a kernel with loads, casts, a device function, a reduction and an int32 overflow
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    # WHEN it runs before and after the interpreter was sped up
    script = tmp_path / "child.py"  # the interpreter reads a kernel's source from its file
    script.write_text(_CHILD)
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    # THEN every number is the same, the wrapped ones too, at well under the cost
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["same"] and found["wrapped"] < -(2**31)
    assert found["ratio"] < 0.7


def test_an_index_is_made_of_an_array_of_one_element_as_triton_before_3_7_does_not():
    # GIVEN Triton 3.6's way, which NumPy refuses from 2.4 on
    class Loaded:
        handle = SimpleNamespace(data=np.array([5]))

    def of_3_6(tensor, scope):
        scope.append((tensor, "__index__"))
        tensor.__index__ = lambda self: int(self.handle.data)

    scope: list[object] = []
    _with_index(of_3_6)(Loaded, scope)
    # THEN a loop over a loaded bound runs, and Triton still knows what it has to restore
    assert list(range(Loaded())) == [0, 1, 2, 3, 4]
    assert scope == [(Loaded, "__index__")]
