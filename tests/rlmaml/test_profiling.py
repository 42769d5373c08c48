"""Timers: what they count, and for whom; and how many threads there are."""

import time

import pytest
import torch

from rlmaml import profiling


def test_stages_are_timed_while_somebody_records():
    with profiling.timer("before"):
        pass
    with profiling.recorded() as outer, profiling.timer("a"):
        with profiling.recorded() as inner, profiling.timer("b"):
            time.sleep(0.01)
        with profiling.timer("a"):
            time.sleep(0.01)
    with profiling.timer("after"):
        pass
    assert set(outer) == {"a", "b"}
    assert set(inner) == {"b"}
    assert outer["b"] == pytest.approx(inner["b"], abs=0.005)
    assert outer["b"] >= 0.01
    assert outer["a"] >= outer["b"] + 0.01


def test_a_stage_that_fails_is_timed_and_ends():
    with profiling.recorded() as seconds:
        with pytest.raises(KeyError), profiling.timer("a"):
            raise KeyError
        with profiling.timer("b"):
            pass
    assert set(seconds) == {"a", "b"}


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with profiling.one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
