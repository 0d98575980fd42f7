"""Make the compact kernel table from a flashinfer-cubin wheel.

    python -m triage.resolver.extract flashinfer_cubin-0.6.12-py3-none-any.whl

The wheel carries `flashInferMetaInfo.h`, a C array of every trtllm-gen
attention cubin with the traits that FlashInfer's host code selects by. Kept
are the rows a paged GQA call can select: paged KV, equal head dims, no sparse
or sage attention, no 4-bit types, none of the softmax and conversion variants
that later sets have. The result is a tab-separated table, xz compressed, named
after the cubin set, which several FlashInfer releases share.

A machine that has run the kernel once holds the header by itself, under
`~/.cache/flashinfer/cubins/SET/fmha/trtllm-gen/include/`.
"""

from __future__ import annotations

import lzma
import re
import sys
import zipfile
from pathlib import Path

from triage.errors import ReplayError
from triage.resolver.table import COLUMNS, DATA, Kernel, kernel_of

_HEADER = re.compile(r"cubins/(?P<set>[0-9a-f]{40})/fmha/trtllm-gen/include/flashInferMetaInfo\.h$")
_FIELDS = re.compile(r"^struct TllmGenFmhaKernelMetaInfo\s*\{(.*?)\};", re.DOTALL | re.MULTILINE)
_ROW = re.compile(r"\{\s*(DATA_TYPE_[^{}]*?)\s*\}")
_PAGED = "2"
MAX_HEADER_BYTES = 256 << 20

_UNUSED = (
    # Variants that a plain call does not select, in sets that have them.
    *("mSparseAttn", "m2CtaMma", "mReuseSmemKForV", "mFp16Softmax", "mUsesSpcompress"),
    *("mEnablesBf16QFp8KvKOnlyTransform", "mSeparateTransformedKv"),
    *("mFusesDsv4InvRopeFp8Quant", "mUsesDsv4Ue8m0ScaleO"),
)

# Our column -> the header's field.
_SOURCES = {
    "name": "mFuncName",
    "sm": "mSM",
    "q": "mDataTypeQ",
    "k": "mDataTypeK",
    "v": "mDataTypeV",
    "o": "mDataTypeO",
    "mask": "mMaskType",
    "kernel": "mKernelType",
    "scheduler": "mTileScheduler",
    "multi_ctas": "mMultiCtasKvMode",
    "head_dim": "mHeadDimQk",
    "head_dim_per_cta": "mHeadDimPerCtaV",
    "tile_q": "mTileSizeQ",
    "tile_kv": "mTileSizeKv",
    "step_q": "mStepQ",
    "step_kv": "mStepKv",
    "page": "mNumTokensPerPage",
    "smem": "mSharedMemBytes",
    "groups_heads": "mGroupsHeadsQ",
    "groups_tokens": "mGroupsTokensHeadsQ",
    "skips_softmax": "mSkipsSoftmaxWhenPossible",
}
assert tuple(_SOURCES) == COLUMNS


def rows_of(header: str) -> list[tuple[str, ...]]:
    """The rows of the array that a paged GQA call can select, sorted by name.

    Raises:
        ReplayError: for a text that is no such header.
    """
    struct = _FIELDS.search(header)
    if struct is None:
        raise ReplayError("this header has no TllmGenFmhaKernelMetaInfo")
    names = re.findall(r"\b(\w+);", struct.group(1))
    found = []
    for match in _ROW.finditer(header):
        values = [value.strip() for value in match[1].rstrip(", \n").split(",")]
        if len(values) != len(names):
            raise ReplayError(
                f"a row of this header has {len(values)} fields and its struct {len(names)}"
            )
        row = dict(zip(names, values, strict=True))
        lacks = [source for source in _SOURCES.values() if source not in row]
        if lacks:
            raise ReplayError(f"this header's rows do not say {', '.join(lacks)}")
        if _selectable(row):
            found.append(tuple(_plain(row[source]) for source in _SOURCES.values()))
    return sorted(found)


def _selectable(row: dict[str, str]) -> bool:
    sage = [row[name] for name in row if name.startswith("mNumEltsPerSageAttn")]
    types = [row[name] for name in row if name.startswith("mDataType")]
    keeps_two = (row["mKernelType"], row["mStepQ"]) == ("3", str(2 * int(row["mTileSizeQ"])))
    return (
        row["mQkvLayout"] == _PAGED
        and row["mHeadDimQk"] == row["mHeadDimV"]
        and all(row.get(name, "0") in ("0", "false") for name in _UNUSED)
        and not (keeps_two and row["mGroupsTokensHeadsQ"] == "true")
        and set(sage) <= {"0"}
        and not any("E2M1" in each for each in types)
        and row["mSM"] in ("kSM_100", "kSM_100f", "kSM_103")
    )


def read_kernels(path: Path) -> tuple[Kernel, ...]:
    """The selectable kernels of a `flashInferMetaInfo.h`.

    Raises:
        ReplayError: one sentence saying why it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_HEADER_BYTES:
            raise ReplayError(f"{path} is larger than any kernel table")
        header = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(f"cannot read {path}: {error}") from error
    try:
        kernels = tuple(kernel_of(row) for row in rows_of(header))
    except ValueError as error:
        raise ReplayError(f"{path} is no whole kernel table: {error}") from error
    if not kernels:
        raise ReplayError(f"{path} lists no kernel of paged attention")
    return kernels


def _plain(value: str) -> str:
    value = value.strip('"').removeprefix("DATA_TYPE_").removeprefix("kSM_")
    return {"true": "1", "false": "0"}.get(value, value)


def main(wheel: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if _HEADER.search(name))
        header = archive.read(member).decode()
    match = _HEADER.search(member)
    assert match is not None
    rows = rows_of(header)
    text = "\n".join("\t".join(row) for row in [COLUMNS, *rows]) + "\n"
    target = DATA / f"fmha_{match['set'][:8]}.tsv.xz"
    target.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{target}: {len(rows)} kernels, {target.stat().st_size} bytes")
    return target


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        main(Path(argument))
