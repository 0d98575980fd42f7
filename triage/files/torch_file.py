"""A `.pt` file from a stranger, looked at before torch unpacks it.

The failures: a deflated entry of a kilobyte that unfolds to gigabytes; a tensor of stride 0
whose shape says terabytes while its storage holds one element, allocated by the first call
that makes it contiguous. torch.save stores entries as they are, so a compressed one is
refused; what is loaded is measured by shape, not by storage, before anybody touches it.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

from triage.errors import DumpError
from triage.files.reading import open_regular

MAX_FILE_BYTES = 4 << 30
MAX_PICKLE_BYTES = 16 << 20
MAX_TENSOR_BYTES = 64 << 20
"""Of one tensor that is made contiguous: an index tensor, never a KV cache."""

_DAMAGED = (
    *(pickle.UnpicklingError, RuntimeError, ValueError, TypeError, EOFError, AssertionError),
    *(ArithmeticError, LookupError, AttributeError),
)
"""What torch.load was seen to raise for a damaged file."""


def load_torch(path: Path, max_bytes: int = MAX_FILE_BYTES) -> Any:
    """What `torch.load(weights_only=True)` makes of the file, storages mapped and not read.

    Raises:
        DumpError: one sentence; torch is missing, the file is no zip of `torch.save`, is
            damaged, compressed, or holds anything that names code.
    """
    try:
        import torch
    except ImportError as error:
        raise DumpError(f"reading {path} needs torch, which is not installed here") from error
    with open_regular(path, max_bytes) as file:
        _check_entries(path, file)
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except MemoryError as error:
            raise DumpError(f"{path} needs more memory than there is here") from error
        except _DAMAGED as error:
            raise DumpError(
                f"{path} holds more than tensors, or is damaged: {_first(error)}"
            ) from error


def contiguous(tensor: Any, what: str, max_bytes: int = MAX_TENSOR_BYTES) -> Any:
    """`tensor` (torch, on the CPU) as a numpy array of its own; DumpError if that is too large.

    Args:
        what: the tensor's name, as the message prints it.
    """
    elements = 1
    for extent in tensor.shape:
        elements *= int(extent)
    size = elements * int(tensor.element_size())
    if size > max_bytes:
        raise DumpError(
            f"{what} of shape {tuple(tensor.shape)} has {size} bytes; an index tensor has at most "
            f"{max_bytes}"
        )
    try:
        return tensor.detach().contiguous().numpy()
    except (RuntimeError, TypeError) as error:
        raise DumpError(f"{what} cannot be read as an array: {_first(error)}") from error


def _check_entries(path: Path, file: Any) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise DumpError(f"{path} is no torch.save file, or is damaged: {_first(error)}") from error
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise DumpError(
                f"{path}: entry {entry.filename!r:.80} is compressed, which torch.save never does; "
                f"it would unfold to {entry.file_size} bytes"
            )
        if entry.filename.endswith(".pkl") and entry.file_size > MAX_PICKLE_BYTES:
            raise DumpError(f"{path} holds an index of {entry.file_size} bytes")
    total = sum(entry.file_size for entry in entries)
    if total > path.stat().st_size:
        raise DumpError(f"{path}: its entries overlap: {total} bytes in {path.stat().st_size}")


def _first(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
