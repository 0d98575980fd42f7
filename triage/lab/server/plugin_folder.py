"""A plugin of the lab's own for a server: a folder that SGLang finds because it is on the path.

SGLang looks for entry points of group `sglang.srt.plugins` in every process it starts, in
the order of `sys.path`. A folder that stands first there is called before an installed
`sglang-triage`: what it changes lies below our hooks, as SGLang's own code does.
"""

from __future__ import annotations

from pathlib import Path

GROUP = "sglang.srt.plugins"
FIRST = "aa_lab_"
"""Names begin with it, so that a reader of SGLang's log finds them together and first."""


def write(directory: Path, name: str, call: str, **arguments: str | None) -> Path:
    """Write a plugin that calls `call(**arguments)` in every process of a server.

    Args:
        directory: where the plugin's own folder is made.
        name: letters, digits and hyphens; the folder is called so.
        call: `package.module:function`, importable where the server runs.
    Returns the folder, to be put first on the server's PYTHONPATH.
    """
    module = FIRST + name.replace("-", "_")
    folder = directory / name
    information = folder / f"{module}-0.dist-info"
    information.mkdir(parents=True, exist_ok=True)
    package, _, function = call.partition(":")
    (folder / f"{module}.py").write_text(
        f"def register():\n    from {package} import {function}\n\n"
        f"    {function}(**{arguments!r})\n"
    )
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 0\n"
    )
    (information / "entry_points.txt").write_text(f"[{GROUP}]\n{module} = {module}:register\n")
    return folder
