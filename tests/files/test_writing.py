"""What is written: whole, over nothing that was there, through no link."""

import errno
import os
import signal

import pytest

from triage.errors import DumpError
from triage.files.writing import Directory, write_output


def test_an_output_never_replaces_its_input_nor_another_file_without_force(tmp_path):
    there, source = tmp_path / "there", tmp_path / "source"
    there.write_bytes(b"precious")
    source.write_bytes(b"source")
    with pytest.raises(DumpError, match="exists; name another file, or give --force"):
        write_output(there, b"new")
    for force in (False, True):
        with pytest.raises(DumpError, match="is the input itself"):
            write_output(source, b"new", force=force, inputs=(source,))
    assert (there.read_bytes(), source.read_bytes()) == (b"precious", b"source")
    assert write_output(there, b"new", force=True).read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "there"]


@pytest.mark.parametrize("force", [False, True])
def test_a_planted_link_is_never_written_through(tmp_path, force):
    # GIVEN a link under the name that will be written, to a file of ours or to none yet
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for target in (victim, tmp_path / "nowhere"):
        link = tmp_path / "out.py"
        link.symlink_to(target)
        # WHEN that name is written
        try:
            write_output(link, b"new", force=force)
        except DumpError:
            assert not force
        # THEN what it pointed to is untouched, and with --force the link itself is replaced
        assert victim.read_bytes() == b"precious"
        assert not (tmp_path / "nowhere").exists()
        assert link.is_symlink() != force
        link.unlink()


def test_directories_are_made_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        Directory.open(tmp_path / "a" / "b", private=True).close()
    finally:
        os.umask(before)
    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in ("a", "a/b")] == ["0o700"] * 2


def test_a_directory_of_evidence_is_no_link_and_not_open_to_others(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="is a link"):
        Directory.open(tmp_path / "link", private=True)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(PermissionError, match="mode 0777: chmod go-w"):
        Directory.open(shared, private=True)
    shared.chmod(0o1777)
    Directory.open(shared, private=True).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_another_user_is_refused(tmp_path):
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to user 65534, not to 0 or root"):
        Directory.open(tmp_path, private=True)


def test_a_directory_that_is_exchanged_behind_its_name_is_still_the_one_written_to(tmp_path):
    place, moved = tmp_path / "place", tmp_path / "moved"
    with Directory.open(place) as directory:
        place.rename(moved)
        place.symlink_to(tmp_path)
        directory.write("file", b"new", replace=False)
    assert (moved / "file").read_bytes() == b"new"
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("call", ["open", "write", "fsync", "link", "rename"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_write_that_fails_leaves_nothing_and_says_so(tmp_path, monkeypatch, call, code):
    real, handle = getattr(os, call), []

    def fail(*arguments, **keywords):
        is_ours = call != "open" or str(arguments[0]).endswith(".partial")
        if is_ours:
            handle.append(arguments)
            raise OSError(code, os.strerror(code))
        return real(*arguments, **keywords)

    with Directory.open(tmp_path) as directory:
        monkeypatch.setattr(os, call, fail)
        with pytest.raises(OSError, match=os.strerror(code)):
            directory.write("file", b"new", replace=call == "rename")
        monkeypatch.undo()
    assert handle
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_hard_links_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    write_output(tmp_path / "file", b"new")
    with Directory.open(tmp_path) as directory, pytest.raises(FileExistsError):
        directory.write("file", b"newer", replace=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["flock", "write", "fsync", "link", "unlink"])
def test_a_writer_that_is_killed_leaves_what_the_next_one_removes(tmp_path, call):
    # GIVEN a writer killed before that step
    pid = os.fork()
    if pid == 0:
        import fcntl

        def kill(*_, **__):
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(fcntl if call == "flock" else os, call, kill)
        with Directory.open(tmp_path) as directory:
            directory.write("file", b"new", replace=False)
        os._exit(0)
    os.waitpid(pid, 0)
    assert any(path.name.endswith(".partial") for path in tmp_path.iterdir())
    # WHEN the next one starts
    with Directory.open(tmp_path) as directory:
        assert directory.remove_leftovers() == 1
    # THEN there is the whole file or none
    left = [path.read_bytes() for path in tmp_path.iterdir()]
    assert left == ([b"new"] if call == "unlink" else [])


def test_a_file_that_is_being_written_is_no_leftover(tmp_path):
    with Directory.open(tmp_path) as one, Directory.open(tmp_path) as other:
        held = one.create_held("armed.1")
        assert not other.remove_leftover("armed.1")
        with pytest.raises(FileExistsError):
            other.create_held("armed.1")
        os.close(held)
        os.close(other.create_held("armed.1"))
        assert other.remove_leftover("armed.1")
