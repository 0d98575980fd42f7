"""The results: one Parquet file, sorted, and the parts of a run that has not ended.

A run writes a part every so often beside the file and puts all of it together at its end, so an
interrupted one loses at most one part, and the file is whole or as before. What was made of the
same objects is the same file, byte for byte, whichever engine made it and in how many runs.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from triage.batch.rows import (
    COLUMNS,
    SCHEMA,
    UNREAD,
    Row,
    column_types,
    explained_by,
    replayed_on,
)
from triage.errors import DumpError
from triage.files.writing import Directory, reason, write_output

PART_ROWS = 1000
_PART = re.compile(r"part-(\d{8})\.parquet")
_LOCK = "lock"
_ROW_GROUP = 1 << 16

Known = dict[str, tuple[int, str]]


class Results:
    """The file at `path`, held by this run alone until `close`.

    Raises:
        DumpError: another run holds it, or it is no file of ours.
        ModuleNotFoundError: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[Row] = []
        parts = path.with_name(f"{path.name}.parts")
        try:
            self._parts = Directory.open(parts)
            self._lock = self._parts.create_held(_LOCK)
        except (FileExistsError, BlockingIOError) as error:
            raise DumpError(
                f"another run is writing {path}; wait for it, or name another"
            ) from error
        except OSError as error:
            raise DumpError(f"cannot write {path}: {reason(error)}") from error
        self._parts.remove_leftovers()
        self._before = _together([*([read_table(path)] if path.exists() else []), *self._held()])
        self._number = max((int(_number(name)) for name in self._names()), default=0)

    def known(self, replay: str) -> Known:
        """URL -> (size, stamp) of the rows that need not be made again.

        Made again is what could not be read at all, what another release explained, and what was
        not replayed on the kernel `replay`, where one is asked for.
        """
        names = ("url", "size_bytes", "stamp", "sha256", "explained_by", "replay", "status")
        found: Known = {}
        for row in rows_as_dicts(self._before, names):
            lacks = replay and replayed_on(row["replay"]) != replay and row["status"] != UNREAD
            if row["sha256"] and row["explained_by"] == explained_by() and not lacks:
                found[row["url"]] = (row["size_bytes"], row["stamp"])
        return found

    def add(self, rows: Iterable[Row]) -> None:
        """Keep them; on disk once there are `PART_ROWS` of them, or at `flush`."""
        self._waiting += rows
        if len(self._waiting) >= PART_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits as a part. Raises DumpError."""
        if not self._waiting:
            return
        self._number += 1
        content = _encoded(_table(self._waiting))
        try:
            self._parts.write(f"part-{self._number:08d}.parquet", content, replace=True)
        except OSError as error:
            raise DumpError(f"cannot write {self.path}: {reason(error)}") from error
        self._waiting = []

    def finish(self) -> Any:
        """Write the file of everything, remove the parts, and return it as an Arrow table."""
        self.flush()
        before = [read_table(self.path)] if self.path.exists() else []
        table = _sorted(_together([*before, *self._held()]))
        write_output(self.path, _encoded(table), force=True)
        for name in self._names():
            self._parts.remove(name)
        return table

    def close(self) -> None:
        """Keep what waits, and let the next run in."""
        try:
            self.flush()
        finally:
            left = self._names()
            self._parts.remove(_LOCK)
            os.close(self._lock)
            self._parts.close()
            if not left:
                with suppress(OSError):  # somebody put a file of theirs there
                    self._parts.path.rmdir()

    def _names(self) -> list[str]:
        return sorted(name for name, _ in self._parts.files() if _PART.fullmatch(name))

    def _held(self) -> list[Any]:
        return [read_table(self._parts.path / name) for name in self._names()]


def _number(name: str) -> str:
    match = _PART.fullmatch(name)
    assert match is not None
    return match[1]


def read_table(path: Path) -> Any:
    """The Arrow table of a results file; DumpError where it is none, or of another schema."""
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except FileNotFoundError as error:
        raise DumpError(f"cannot read {path}: {error.strerror or 'it is not there'}") from error
    except Exception as error:  # pyarrow's own family, and those of what it is made of
        raise DumpError(f"{path} is no results file of `triage batch`, or is damaged") from error
    made = (table.schema.metadata or {}).get(b"schema", b"").decode("utf-8", "replace")
    if made != SCHEMA or table.schema.names != list(COLUMNS):
        raise DumpError(
            f"{path} has the schema {made!r:.60}, and this triage reads {SCHEMA}; "
            "a batch over the same sources into another file makes it anew"
        )
    return table


def rows_as_dicts(table: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows, with these columns, a few thousand at a time in memory."""
    for batch in table.select(list(names)).to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def arrow_schema() -> Any:
    """The columns in the order of `Row`."""
    import pyarrow as pa

    kinds = {
        "text": pa.string(),
        "integer": pa.int64(),
        "time": pa.timestamp("us", tz="UTC"),
    }
    columns = [pa.field(name, kinds[kind]) for name, kind in column_types().items()]
    return pa.schema(columns, metadata={"schema": SCHEMA})


def _table(rows: Sequence[Row]) -> Any:
    import pyarrow as pa

    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in rows] for name in column_types()
    }
    for name, kind in column_types().items():
        if kind == "time":
            columns[name] = [
                datetime.fromisoformat(each) if each else None for each in columns[name]
            ]
    return pa.Table.from_pydict(columns, schema=arrow_schema())


def _together(tables: Sequence[Any]) -> Any:
    """One table of all, of a URL the row of the last table that has it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept: list[Any] = []
    for table in tables:
        kept = [
            each.filter(pc.invert(pc.is_in(each["url"], value_set=table["url"]))) for each in kept
        ]
        kept.append(table)
    return pa.concat_tables(kept) if kept else arrow_schema().empty_table()


def _sorted(table: Any) -> Any:
    """In the order of their URLs, each copy of a content told of which it is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = table.drop_columns(["duplicate_of"])
    first = table.group_by("sha256").aggregate([("url", "min")])
    joined = table.join(first, "sha256").sort_by("url")
    is_copy = pc.and_(
        pc.not_equal(joined["sha256"], ""), pc.not_equal(joined["url"], joined["url_min"])
    )
    of = pc.if_else(is_copy, joined["url_min"], "")
    joined = joined.append_column("duplicate_of", of).select(list(COLUMNS))
    return pa.table(joined.columns, schema=arrow_schema()).combine_chunks()


def _encoded(table: Any) -> bytes:
    import pyarrow.parquet as parquet

    target = io.BytesIO()
    parquet.write_table(table, target, compression="zstd", row_group_size=_ROW_GROUP)
    return target.getvalue()
