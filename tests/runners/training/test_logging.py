"""Metrics for TensorBoard."""

import pytest

from tests.helpers.runs import tiny


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    folder = tiny(tmp_path / "run", "--tensorboard", "True", "--iterations", 1)
    assert list(folder.tensorboard.iterdir())
