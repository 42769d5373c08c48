"""Metrics for TensorBoard."""

import sys

import pytest

from tests.helpers.runs import TINY, refused, tiny

pytestmark = pytest.mark.slow


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    folder = tiny(tmp_path / "run", "--tensorboard", "True", "--iterations", 1)
    assert list(folder.tensorboard.iterdir())


def test_a_run_without_tensorboard_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    out = ("--out", tmp_path / "run")
    message = refused(capsys, "train", "navigation", *TINY, *out, "--tensorboard", "True")
    assert "pip install 'rlmaml[tensorboard]'" in message
    assert not (tmp_path / "run").exists()
