"""Other tools' evidence as our dumps.

    FlashInfer level-10 dump (a directory)   -> a dump of its own
    an earlier page-table trap's .pt file    -> a dump of its own
    kv_canary log lines                      -> `history` of an existing dump
    cuda-gdb or compute-sanitizer text       -> facts of an existing dump's fault

What the source lacks stays absent and is named in `provenance["lacks"]`. No
source is executed: .pt files are read with weights_only.
"""

from __future__ import annotations

from pathlib import Path

from triage.dump.sections import Dump
from triage.errors import DumpError
from triage.importers import canary, cuda_text

MAX_TEXT_BYTES = 256 << 20


def import_path(
    path: Path, into: Dump | None = None, cache_shape: tuple[int, int, int, int] | None = None
) -> Dump:
    """Read `path`, whatever it is of the above; text is added to the dump `into`.

    Args:
        cache_shape: K's `(pages, Hkv, page_size, D)` for a FlashInfer call that does not say it.
    Raises:
        DumpError: one sentence saying why it cannot be read.
    """
    if path.is_dir():
        from triage.importers.flashinfer_dump import read_level10

        return read_level10(path, cache_shape)
    try:
        with path.open("rb") as file:
            head = file.read(8)
        size = path.stat().st_size
    except OSError as error:
        raise DumpError(f"cannot read {path}: {error.strerror or error}") from error
    if head[:4] == b"PK\x03\x04":
        from triage.importers.trap_file import read_trap_file

        return read_trap_file(path)
    if path.suffix == ".safetensors":
        raise DumpError(f"{path} needs its metadata: import the directory it lies in")
    if size > MAX_TEXT_BYTES:
        raise DumpError(f"{path} has {size} bytes, too many for a log")
    text = path.read_text(encoding="utf-8", errors="replace")
    return _import_text(path, text, into)


def _import_text(path: Path, text: str, into: Dump | None) -> Dump:
    violations, faults = canary.parse(text), cuda_text.parse(text)
    if not violations and not faults:
        raise DumpError(f"{path} is no dump and holds no line that is known here")
    if into is None:
        raise DumpError(f"{path} is a log: name the dump of the same fault with --into")
    if violations:
        into = canary.add_to(into, violations)
    if faults:
        into = cuda_text.add_to(into, faults)
    return into
