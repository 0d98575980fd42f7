"""Make the compact kernel table from a flashinfer-cubin wheel.

    python -m triage.resolver.extract flashinfer_cubin-0.6.12-py3-none-any.whl

The wheel carries `flashInferMetaInfo.h`, a C array of every trtllm-gen
attention cubin with the traits that FlashInfer's host code selects by. Kept
are the rows a paged GQA call can select: paged KV, equal head dims, no sparse
or sage attention, no 4-bit types. The result is a tab-separated table, xz
compressed, named after the cubin set, which several FlashInfer releases share.
"""

from __future__ import annotations

import lzma
import re
import sys
import zipfile
from pathlib import Path

from triage.resolver.table import COLUMNS, DATA

_HEADER = re.compile(r"cubins/(?P<set>[0-9a-f]{40})/fmha/trtllm-gen/include/flashInferMetaInfo\.h$")
_FIELDS = re.compile(r"^struct TllmGenFmhaKernelMetaInfo\s*\{(.*?)\};", re.DOTALL | re.MULTILINE)
_PAGED = "2"

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
    """The rows of the array that a paged GQA call can select, sorted by name."""
    struct = _FIELDS.search(header)
    if struct is None:
        raise SystemExit("this header has no TllmGenFmhaKernelMetaInfo")
    names = re.findall(r"\b(\w+);", struct.group(1))
    found = []
    for line in header.splitlines():
        if not line.startswith("{ DATA_TYPE"):
            continue
        values = [value.strip() for value in line.strip("{},; ").split(",")]
        row = dict(zip(names, values, strict=True))
        if not _selectable(row):
            continue
        found.append(tuple(_plain(row[source]) for source in _SOURCES.values()))
    return sorted(found)


def _selectable(row: dict[str, str]) -> bool:
    sage = [row[name] for name in row if name.startswith("mNumEltsPerSageAttn")]
    types = [row[name] for name in row if name.startswith("mDataType")]
    return (
        row["mQkvLayout"] == _PAGED
        and row["mHeadDimQk"] == row["mHeadDimV"]
        and row.get("mSparseAttn", "0") in ("0", "false")
        and row["m2CtaMma"] == row["mReuseSmemKForV"] == "false"
        and set(sage) <= {"0"}
        and not any("E2M1" in each for each in types)
        and row["mSM"] in ("kSM_100", "kSM_100f", "kSM_103")
    )


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
