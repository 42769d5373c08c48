"""Checkpoints for others: the same numbers, without pickle."""

import pytest
import torch

from rlmaml import checkpoint, sharing
from rlmaml.checkpoint import META, SHARED_STATE, STATE

META_PARAMETERS = {"params": {"b": torch.randn(3), "a": torch.randn(2, 2)}}
STATE_OF_ALL = {
    "totals": {"env_steps": 7, "best_score": None},
    "outer": {"momentum": torch.randn(3)},
    "data": "a fingerprint",
    "processes": 2,
    "normalizer": {"mean": torch.randn(3, dtype=torch.float64), "count": torch.tensor(2.0)},
    "predictor": {"input_shape": (1,), "output_size": 3},
}


@pytest.fixture
def place(tmp_path):
    return checkpoint.save(tmp_path / "run", 12, META_PARAMETERS, STATE_OF_ALL, {"seed": 1})


def test_all_but_the_state_of_the_outer_step_is_there(place, tmp_path):
    found = checkpoint.load(sharing.write_checkpoint(place, tmp_path / "out", {"seed": 2}))
    assert found.iteration == 12
    assert found.config == {"seed": 2}
    assert found.digest == checkpoint.load(place).digest
    assert set(found.state) == set(STATE_OF_ALL) - {"outer"}
    for name in ("totals", "data", "processes"):
        assert found.state[name] == STATE_OF_ALL[name]
    assert found.state["predictor"] == {"input_shape": [1], "output_size": 3}
    for name, value in STATE_OF_ALL["normalizer"].items():
        assert torch.equal(found.state["normalizer"][name], value)
        assert found.state["normalizer"][name].dtype == value.dtype
    for name, value in META_PARAMETERS["params"].items():
        assert torch.equal(found.meta["params"][name], value)


def test_no_file_of_it_is_pickled(place, tmp_path):
    out = sharing.write_checkpoint(place, tmp_path / "out", {})
    assert {path.name for path in out.iterdir()} == {META, SHARED_STATE, "manifest.json"}
    assert (place / STATE).exists()


def test_what_is_shared_is_shared_again(place, tmp_path):
    once = sharing.write_checkpoint(place, tmp_path / "once", {})
    again = sharing.write_checkpoint(once, tmp_path / "again", {})
    for name in (META, SHARED_STATE, "manifest.json"):
        assert (once / name).read_bytes() == (again / name).read_bytes()


@pytest.mark.parametrize(("given", "known"), [(False, None), (True, 12)])
def test_it_is_the_best_where_it_is_said_to_be(place, tmp_path, given, known):
    out = sharing.write_checkpoint(place, tmp_path / "out", {}, best=given)
    assert checkpoint.load(out).best == known


@pytest.mark.parametrize("name", [META, SHARED_STATE])
def test_an_altered_byte_is_noticed(place, tmp_path, name):
    out = sharing.write_checkpoint(place, tmp_path / "out", {})
    content = bytearray((out / name).read_bytes())
    content[-1] ^= 1
    (out / name).write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match="checksum"):
        checkpoint.load(out)
