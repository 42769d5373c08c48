"""Timers, and how many threads there are."""

import time

import torch

from rlmaml.profiling import one_thread, recorded, timer


def test_seconds_are_recorded_by_name_while_somebody_records():
    with timer("before"):
        pass
    with recorded() as seconds:
        with timer("outside"), timer("inside"):
            time.sleep(0.01)
        with timer("inside"):
            pass
    assert set(seconds) == {"outside", "inside"}
    assert 0.01 <= seconds["inside"] <= seconds["outside"] + 0.01


def test_recordings_may_be_nested():
    with recorded() as outer:
        with recorded() as inner, timer("a"):
            pass
        with timer("b"):
            pass
    assert set(outer) == {"a", "b"}
    assert set(inner) == {"a"}


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
