"""Locks: of one process at a time, and of none where the file system knows none."""

import errno
import os

import pytest

from rlmaml.errors import ConfigError
from runners import lock


def test_a_file_system_without_locks_is_said_to_have_none(tmp_path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with lock.lock(tmp_path / ".lock"):
        assert "keeps no locks (No locks available)" in capsys.readouterr().err


def test_a_process_that_was_forked_does_not_keep_it(tmp_path):
    with lock.lock(tmp_path / ".lock"):
        (reader, writer), (told, tells) = os.pipe(), os.pipe()
        child = os.fork()
        if not child:  # as a worker outlives a run that was killed
            os.close(writer)
            os.write(tells, b".")
            os.read(reader, 1)
            os._exit(0)
        os.read(told, 1)
    with lock.lock(tmp_path / ".lock"), pytest.raises(ConfigError), lock.lock(tmp_path / ".lock"):
        pass
    os.close(writer)
    os.waitpid(child, 0)
