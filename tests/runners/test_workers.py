"""Worker processes that end before their work does."""

import multiprocessing

import pytest

from runners.workers import closed, ended_workers


def test_a_pipe_is_a_workers_only_if_multiprocessing_used_it():
    mine, theirs = multiprocessing.Pipe()
    theirs.close()
    with pytest.raises((BrokenPipeError, EOFError)) as broken:
        mine.recv()
    assert "has ended before its work was done" in (ended_workers(broken.value) or "")
    for other in (BrokenPipeError(32, "a socket"), EOFError(), ValueError("wrong")):
        assert ended_workers(other) is None


def test_an_error_of_closing_does_not_hide_the_one_before():
    class Unclosable:
        def close(self):
            raise RuntimeError("closing")

    with pytest.raises(ValueError, match="working"), closed(Unclosable()):
        raise ValueError("working")
    with pytest.raises(RuntimeError, match="closing"), closed(Unclosable()):
        pass
