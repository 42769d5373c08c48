"""What a configuration sets for torch: tasks per stacked computation, and precision."""

from dataclasses import replace

import pytest
import torch

from runners.environments import build_experiment
from runners.presets import PRESETS


def small(**changed):
    config = replace(PRESETS["half-cheetah-vel"][1], tasks=2, episodes=3, horizon=5, threads=1)
    return replace(config, **changed)


def test_tasks_are_stacked_by_their_size():
    config = PRESETS["half-cheetah-vel"][1]
    sizes = {(20, 200): 1, (40, 200): 1, (20, 100): 4, (20, 1): 400, (1, 1): 8000}
    for (episodes, horizon), tasks in sizes.items():
        assert replace(config, episodes=episodes, horizon=horizon).stacked == tasks
    assert replace(config, device="cuda").stacked is None
    assert replace(config, chunk_size=None).stacked is None
    assert replace(config, chunk_size=7).stacked == 7
    assert PRESETS["digits"][1].changed({"chunk_size": "auto"}).stacked is None
    for size in (0, -1, 2.5, "all", True):
        with pytest.raises(ValueError, match="chunk_size must be at least 1, None or auto"):
            replace(config, chunk_size=size)


def test_tf32_is_off_unless_asked_for():
    before = torch.get_float32_matmul_precision()
    try:
        for tf32, precision in ((True, "high"), (False, "highest")):
            build_experiment(small(tf32=tf32)).close()
            assert torch.get_float32_matmul_precision() == precision
            assert torch.backends.cudnn.allow_tf32 is tf32
    finally:
        torch.set_float32_matmul_precision(before)
