"""The episodes and policies of the adaptation that is shown."""

import numpy as np
import pytest

from runners.rendering.adaptation import Adaptation
from tests.helpers.runs import tiny

pytestmark = pytest.mark.slow


def test_the_faint_paths_are_the_episodes_of_the_adaptation(runs):
    adaptation = Adaptation(runs["nav"], None, 3, 0)
    task = np.array([0.4, -0.3])
    before, after = (adaptation.paths(task, k) for k in (0, 1))
    learned_from = adaptation.policy(task, 1).episodes[0].observations
    assert len(before) == 3
    for path, observed in zip(before, learned_from, strict=True):
        np.testing.assert_allclose(path, observed[: len(path)])
        np.testing.assert_array_equal(path[0], [0, 0])
    assert not np.array_equal(before[0], after[0])


def test_observation_statistics_are_undone(tmp_path):
    folder = tiny(
        tmp_path / "run", "--normalize-observations", True, "--iterations", 1, preset="navigation"
    )
    for path in Adaptation(folder, None, 2, 0).paths(np.array([0.4, -0.3]), 0):
        np.testing.assert_allclose(path[0], [0, 0], atol=1e-6)
        assert np.abs(np.diff(path, axis=0)).max() == pytest.approx(0.1, rel=1e-3)
