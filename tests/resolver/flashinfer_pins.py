"""Which set of attention kernels each FlashInfer release pins, read from wheels.

    python -m tests.resolver.flashinfer_pins flashinfer_python-*.whl > \
        tests/resolver/flashinfer_pins.json

The JSON beside this file was made so, from the published wheels it names.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

from triage.resolver.pins import pin_in


def pin_of(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return pin_in(archive.read("flashinfer/artifacts.py").decode())


if __name__ == "__main__":
    wheels = sorted(map(Path, sys.argv[1:]))
    print(json.dumps({wheel.name.split("-")[1]: pin_of(wheel) for wheel in wheels}, indent=1))
