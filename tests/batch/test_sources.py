"""Where dumps may lie: an archive, the memory of this process; and what reads them."""

from __future__ import annotations

import subprocess
import sys
import zipfile

from tests.batch.test_batch import run
from triage.batch import run as batch


def test_an_archive_is_read_without_being_unpacked(folder, tmp_path):
    archive = tmp_path / "dumps.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for each in folder.iterdir():
            made.write(each, f"a/{each.name}")
    plain = run(folder, out=tmp_path / "plain.parquet").overview

    for number, source in enumerate((str(archive), f"zip://::{archive}")):
        found = run(source, out=tmp_path / f"{number}.parquet").overview
        assert [each.signature for each in found.clusters] == [
            each.signature for each in plain.clusters
        ]


def test_memory_of_this_process_is_read_by_this_process(folder, tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    for each in folder.iterdir():
        memory.pipe_file(f"/batch-test/{each.name}", each.read_bytes())
    try:
        found = batch.run(["memory://batch-test"], tmp_path / "r.parquet", never)
        assert found.made == 4 and found.engine == "inline"
    finally:
        memory.rm("/batch-test", recursive=True)


def never():
    raise AssertionError("no other process can see it")


def test_no_dump_is_read_with_torch(folder, tmp_path):
    script = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['triage', 'batch', "
        f"{str(folder)!r}, '--workers', '1', '--out', {str(tmp_path / 'r.parquet')!r}, '--replay'];"
        "from triage.cli import main; main()"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "2 clusters" in ran.stdout
