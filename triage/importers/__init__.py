"""Other tools' evidence as our dumps, and as observations.

    FlashInfer level-10 dump (a directory)   -> a dump of its own
    an earlier page-table trap's .pt file    -> a dump of its own
    any text                                 -> observations, in the facts of a dump's fault

What the source lacks stays absent and is named in `provenance["lacks"]`. No
source is executed: .pt files are read with weights_only.

    scan, lines, passage   a log of any size as the few lines that matter, cleaned
    recognise              from those lines to `dump.observation.Observation`s
    sanitizer, debugger, driver, cuda_error, sglang_log, canary, flashinfer_log
                           one form of text each
    anything               paths of all kinds as `explain.together.Input`s
    flashinfer_dump, trap_file
                           files that hold a launch
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from triage.dump.file import MAGIC
from triage.dump.sections import Dump
from triage.errors import DumpError
from triage.evidence import Evidence
from triage.explain.together import with_observations
from triage.files.reading import open_regular

if TYPE_CHECKING:
    from triage.importers.recognise import Log

IMPORTED = "imported"
"""`fault.facts["kind"]` of a dump that is what other tools saw and nothing else."""


def import_path(
    path: Path, into: Dump | None = None, cache_shape: tuple[int, int, int, int] | None = None
) -> Dump:
    """Read `path`, whatever it is of the above; a text is added to the dump `into`, if given.

    Args:
        cache_shape: K's `(pages, Hkv, page_size, D)` for a FlashInfer call that does not say it.
    Raises:
        DumpError: one sentence saying why it cannot be read.
    """
    held = read_launch(path, cache_shape)
    if held is not None:
        return held
    from triage.importers.recognise import read_log
    from triage.importers.scan import MAX_BYTES, open_text

    with open_text(path) as stream:
        log = read_log(stream, str(path))
    if not log.observations:
        with open_regular(path, MAX_BYTES) as file:
            if MAGIC.encode() in file.read(64):
                raise DumpError(f"{path} is a dump already: triage show, explain, replay take it")
        raise DumpError(f"{path} is no dump and holds no line that is known here")
    return with_observations(into or of_observations(log), log.observations)


def read_launch(path: Path, cache_shape: tuple[int, int, int, int] | None = None) -> Dump | None:
    """The dump for a file or directory that holds a launch; None for a text."""
    if path.is_dir():
        from triage.importers.flashinfer_dump import read_level10

        return read_level10(path, cache_shape)
    from triage.importers.scan import MAX_BYTES

    with open_regular(path, MAX_BYTES) as file:
        head = file.read(8)
    if head[:4] == b"PK\x03\x04":
        from triage.importers.trap_file import read_trap_file

        return read_trap_file(path)
    if path.suffix == ".safetensors":
        raise DumpError(f"{path} needs its metadata: import the directory it lies in")
    return None


def of_observations(log: Log) -> Dump:
    """A dump that holds what was seen and no launch."""
    what = ", ".join(log.forms)
    return Dump(
        fault=Evidence("", f"imported from {what}", log.source, facts={"kind": IMPORTED}),
        provenance={"imported": what, "lacks": ["a launch with its page table"]},
    )
