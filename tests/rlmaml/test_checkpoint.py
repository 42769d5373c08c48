"""Checkpoints: whole or absent, and known to be unaltered."""

import json
import os
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlmaml import checkpoint
from rlmaml.checkpoint import CheckpointError

META_PARAMETERS = {"params": {"b": torch.randn(3), "a": torch.randn(2, 2)}}
STATE = {"totals": {"env_steps": 7}, "normalizer": {"mean": torch.randn(3, dtype=torch.float64)}}


def save(folder, iteration, **kwargs):
    return checkpoint.save(folder, iteration, META_PARAMETERS, STATE, {"seed": 1}, **kwargs)


def test_round_trip(tmp_path):
    found = checkpoint.load(save(tmp_path, 12))
    assert found.iteration == 12
    assert found.config == {"seed": 1}
    assert found.state["totals"] == {"env_steps": 7}
    assert torch.equal(found.state["normalizer"]["mean"], STATE["normalizer"]["mean"])
    for name, value in META_PARAMETERS["params"].items():
        assert torch.equal(found.meta["params"][name], value)


def test_the_last_two_and_the_best_are_kept(tmp_path):
    for iteration in (10, 20, 30, 40):
        save(tmp_path, iteration, best=10)
    assert checkpoint.available(tmp_path) == [10, 30, 40]
    assert checkpoint.latest(tmp_path).name == "000040"
    save(tmp_path, 40)
    assert checkpoint.available(tmp_path) == [30, 40]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_altered_or_cut_byte_is_noticed(tmp_path, data):
    folder = tmp_path / "run"
    if not folder.exists():
        save(folder, 1)
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "000001", copy)
    name = data.draw(st.sampled_from([checkpoint.META, checkpoint.STATE, checkpoint.MANIFEST]))
    content = bytearray((copy / name).read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[where] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[where:]
    (copy / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checksum|not a complete"):
        checkpoint.load(copy)


@pytest.mark.parametrize("name", [checkpoint.META, checkpoint.STATE, checkpoint.MANIFEST])
def test_a_missing_file_is_named(tmp_path, name):
    place = save(tmp_path, 1)
    (place / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(place)


@pytest.mark.parametrize("content", [None, "", '{"format": 1, "sha', "[]", '{"sha256": {}}'])
def test_a_digest_needs_a_whole_manifest(tmp_path, content):
    place = save(tmp_path, 1)
    assert checkpoint.meta_digest(place) == checkpoint.load(place).digest
    if content is None:
        (place / checkpoint.MANIFEST).unlink()
    else:
        (place / checkpoint.MANIFEST).write_text(content)
    with pytest.raises(CheckpointError, match=r"not a complete .* Name another"):
        checkpoint.meta_digest(place)


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoint.latest(tmp_path)


def test_a_crash_while_writing_leaves_the_previous_one_and_is_tidied(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def crash(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.json, "dumps", crash)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert checkpoint.latest(tmp_path).name == "000001"
    assert len(os.listdir(tmp_path)) == 2
    save(tmp_path, 3)
    assert sorted(os.listdir(tmp_path)) == ["000001", "000003"]


def test_the_state_cannot_carry_code(tmp_path):
    place = checkpoint.save(tmp_path, 1, META_PARAMETERS, {"x": pytest.raises}, {})
    with pytest.raises(CheckpointError, match="UnpicklingError"):
        checkpoint.load(place)


def test_manifest_holds_the_configuration(tmp_path):
    assert json.loads((save(tmp_path, 1) / checkpoint.MANIFEST).read_text())["config"] == {
        "seed": 1
    }


def test_what_is_somebodys_among_the_checkpoints_stays(tmp_path):
    folder, elsewhere = tmp_path / "checkpoints", tmp_path / "elsewhere"
    save(folder, 10)
    (folder / "000010").rename(elsewhere)
    (folder / "000010").symlink_to(elsewhere)  # moved to another disk, and linked
    strays = [".000010.swp", ".000010", "000003", "12", "0000012", "notes", ".000007.1x"]
    for name in strays:
        (folder / name).touch()
    (folder / "000004").symlink_to(tmp_path / "nowhere")
    (folder / ".000009.77").mkdir()  # what a killed process left
    assert checkpoint.available(folder) == [10]
    assert checkpoint.load(checkpoint.latest(folder)).iteration == 10
    for iteration in (20, 30, 1_000_000):
        save(folder, iteration)
    assert checkpoint.available(folder) == [30, 1_000_000]
    assert checkpoint.load(elsewhere).iteration == 10  # the link is gone, and no more
    names = {path.name for path in folder.iterdir()}
    assert names == {*strays, "000004", "000030", "1000000"}
    for taken in (3, 4):
        with pytest.raises(CheckpointError, match="move it away"):
            save(folder, taken)


def test_checkpoints_that_a_run_has_not_come_to_do_not_count(tmp_path):
    """It may have gone on from an older one, because the newest was altered."""
    for iteration in (1, 2, 3, 4):
        save(tmp_path, iteration, keep=4)
    checkpoint.prune(tmp_path, 2, keep=1)
    assert checkpoint.available(tmp_path) == [2, 3, 4]
    save(tmp_path, 3, keep=2)
    assert checkpoint.available(tmp_path) == [2, 3, 4]
