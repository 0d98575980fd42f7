"""One minimal dump of each cluster: its smallest one, shrunk as `triage minimise` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from triage.batch.clusters import Cluster
from triage.batch.objects import Object, read
from triage.dump.file import decode, encode
from triage.engines import Engine, Lost
from triage.errors import DumpError, TriageError
from triage.files.writing import Directory, reason
from triage.minimise import minimise

SUFFIX = ".msgpack"


class Wanted(NamedTuple):
    """The dump that is to be shrunk, and the file's name."""

    object: Object
    name: str


def directory_of(results: Path) -> Path:
    """Where the exemplars of a results file lie."""
    return results.with_name(f"{results.stem}-exemplars")


def find(clusters: Sequence[Cluster], results: Path) -> None:
    """Note at each cluster the exemplar that an earlier run made."""
    for cluster in clusters:
        path = directory_of(results) / _name(cluster)
        cluster.minimal = str(path) if path.is_file() else ""


def make(
    clusters: Sequence[Cluster],
    objects: Mapping[str, Object],
    results: Path,
    engine: Engine,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, str]:
    """Write what is missing and remove what another dump was the smallest for.

    Returns:
        Signature -> why its cluster has no minimal dump. Of a dump that lies in none of the
        sources of this run what an earlier run made is kept.
    Raises DumpError where the directory cannot be written.
    """
    find(clusters, results)
    wanted = {
        _name(each): each for each in clusters if not each.minimal and each.exemplar in objects
    }
    problems = {}
    tasks = [Wanted(objects[each.exemplar], name) for name, each in wanted.items()]
    if not tasks:
        return {}
    try:
        with Directory.open(directory_of(results)) as directory:
            for done, (task, made) in enumerate(engine.map(minimal, tasks), 1):
                cluster = wanted[task.name]
                if isinstance(made, bytes):
                    directory.write(task.name, made, replace=True)
                else:
                    problems[cluster.signature] = made.reason if isinstance(made, Lost) else made
                tell(done, len(tasks))
            kept = {_name(each) for each in clusters}
            now = {each.signature for each in clusters}
            for name, _ in list(directory.files()):
                if name not in kept and name.partition("-")[0] in now and name.endswith(SUFFIX):
                    directory.remove(name)
    except OSError as error:
        raise DumpError(f"cannot write into {directory_of(results)}: {reason(error)}") from error
    find(clusters, results)
    return problems


def minimal(wanted: Wanted) -> bytes | str:
    """The shrunk dump; the dump itself where nothing can be shrunk; or why there is none."""
    try:
        content = read(wanted.object)
        dump = decode(content)
        if dump.launch is None or dump.tables is None:
            return content
        found = minimise(dump)
        return content if found is None else encode(found.dump)
    except TriageError as error:
        return str(error)


def _name(cluster: Cluster) -> str:
    return f"{cluster.signature}-{cluster.exemplar_sha256[:12]}{SUFFIX}"
