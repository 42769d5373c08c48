"""File operations that fail from the n-th on, as those of a process that is gone."""

import builtins
import contextlib
import errno
import io
import os

NAMES = ("open", "rename", "replace", "mkdir", "unlink", "rmdir", "fsync", "pwrite")
WRITING = ("mkdir", "fsync", "write", "create")
"""Operations that a full disk fails."""


class Killed(BaseException):
    """The process is gone: nothing may catch this and go on."""


class Disk:
    """Counts the file operations of what runs within, and fails them from the n-th on.

    Args:
        fails_from: the first to fail; None is none.
        full: fail those that need space, as a full disk does; else all, as for a killed process.
    """

    def __init__(self, fails_from=None, *, full=False):
        self.fails_from, self.full, self.done = fails_from, full, []

    def passes(self, name):
        """Count an operation, or fail it."""
        late = self.fails_from is not None and len(self.done) >= self.fails_from
        if late and self.full and name in WRITING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if late and not self.full:
            raise Killed
        self.done.append(name)

    def _wrapped(self, name, real):
        def operation(*args, **kwargs):
            self.passes(name)
            return real(*args, **kwargs)

        return operation

    def _opened(self, real):
        def opened(file, mode="r", *args, **kwargs):
            writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
            if not isinstance(file, int):
                self.passes("create" if writes else "read")
            stream = real(file, mode, *args, **kwargs)
            if writes:
                stream = _Torn(stream, self)
            return stream

        return opened

    @contextlib.contextmanager
    def at_work(self, monkeypatch):
        with monkeypatch.context() as patch:
            for name in NAMES:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            opened = self._opened(builtins.open)
            patch.setattr(builtins, "open", opened)
            patch.setattr(io, "open", opened)
            yield self


class _Torn:
    """A file to write of which a failing write leaves the first half."""

    def __init__(self, stream, disk):
        self._stream, self._disk = stream, disk

    def write(self, content):
        try:
            self._disk.passes("write")
        except BaseException:
            self._stream.write(content[: len(content) // 2])
            self._stream.flush()
            raise
        return self._stream.write(content)

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def __enter__(self):
        self._stream.__enter__()
        return self

    def __exit__(self, *error):
        return self._stream.__exit__(*error)
