"""Configurations: JSON, changes, algorithms and outer steps, versions."""

from dataclasses import dataclass, replace

import pytest

from rlmaml.algorithms.promp import ProMP
from rlmaml.config import TrainConfig, changes, flat
from rlmaml.errors import ConfigError
from rlmaml.outer.optimizer import Optimizer


@dataclass(frozen=True)
class Careful(Optimizer):
    """An outer step of one's own."""

    caution: float = 0.5


def test_a_config_of_another_version_is_refused():
    with pytest.raises(ConfigError, match="wings"):
        TrainConfig.from_dict({"wings": 2})
    assert changes(TrainConfig(), TrainConfig(iterations=7)) == []
    assert changes(TrainConfig(), TrainConfig(seed=7)) == ["seed: 0 -> 7"]


def test_settings_survive_json():
    config = TrainConfig().with_algorithm("promp", ProMP.Settings(clip=0.2))
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert config.outer == "optimizer"
    with pytest.raises(ConfigError, match="settings of another algorithm"):
        replace(config, algorithm="maml")


def test_an_outer_step_of_ones_own_survives_json():
    config = TrainConfig().with_outer(f"{__name__}:Careful")
    config = config.changed({"outer_settings.caution": 0.25})
    assert config.outer_step == Careful(caution=0.25)
    assert TrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="settings of another outer step"):
        replace(config, outer_settings=None)
    with pytest.raises(ConfigError, match="Unknown outer step 'nothing'"):
        TrainConfig().with_outer("nothing")


def test_options_are_changed_together_and_found_again():
    config = TrainConfig()
    changed = config.changed({"inner.steps": 3, "inner.step_size": 0.2, "seed": 5})
    assert (changed.inner.steps, changed.inner.step_size, changed.seed) == (3, 0.2, 5)
    assert config.differing(changed) == {"inner.steps": 3, "inner.step_size": 0.2, "seed": 5}
    assert flat(changed.to_dict())["inner.steps"] == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tasks": 0}, "tasks must be at least 1, got 0"),
        ({"seed": -1}, "seed must be zero or more, got -1"),
        ({"chunk_size": 0}, "chunk_size must be at least 1"),
        ({"data": "examples", "batch_by": "steps"}, "batch_by is for data episodes"),
        ({"data": "examples", "inner.surrogate": "dice"}, "are for data episodes"),
        ({"episodes": 1, "outer_advantages.baseline": "cross-fitted"}, "take more episodes"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig().changed(wrong)


def test_an_evaluation_takes_no_derivatives_and_all_of_the_tasks_in_chunks():
    config = TrainConfig().changed(
        {"inner.hessian": "separate", "trust_region.fisher_fraction": 0.1, "chunk_size": None}
    )
    measured = config.for_evaluation()
    assert measured.inner.hessian == "support"
    assert measured.trust_region.fisher_fraction == 1.0
    assert measured.chunk_size == config.tasks
    assert TrainConfig(episodes=20, horizon=200).tasks_per_chunk == 1


def test_tasks_are_stacked_by_their_size():
    sizes = {(20, 200): 1, (40, 200): 1, (20, 100): 4, (20, 1): 400, (1, 1): 8000}
    for (episodes, horizon), tasks in sizes.items():
        assert TrainConfig(episodes=episodes, horizon=horizon).tasks_per_chunk == tasks
    assert TrainConfig(device="cuda").tasks_per_chunk is None
    assert TrainConfig(chunk_size=None).tasks_per_chunk is None
    assert TrainConfig(chunk_size=7).tasks_per_chunk == 7
    assert TrainConfig(data="examples").tasks_per_chunk is None
    for size in (0, -1, 2.5, "all", True):
        with pytest.raises(ConfigError, match="chunk_size must be at least 1, None or auto"):
            TrainConfig(chunk_size=size)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("iterations", 2.5, "iterations must be int, got 2.5"),
        ("seed", True, "seed must be int, got True"),
        ("device", 5, "device must be str, got 5"),
        ("data", "foo", "data must be Literal"),
        ("tf32", 1, "tf32 must be bool, got 1"),
        ("chunk_size", "all", "chunk_size must be"),
        ("env", {"id": 3}, "id must be str, got 3"),
        ("inner", {"step_size": "large"}, "step_size must be float, got 'large'"),
        ("policy", {"hidden": ["wide"]}, "hidden must be tuple"),
    ],
)
def test_values_of_other_types_are_refused_by_name(field, value, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict(TrainConfig().to_dict() | {field: value})
    with pytest.raises(ConfigError, match="unexpected"):
        TrainConfig().changed({"inner.stepsize": 1.0})


def test_settings_that_an_outer_step_left_behind_are_dropped():
    own = TrainConfig().changed({"outer": f"{__name__}:Careful", "outer_settings.caution": 0.25})
    assert own.changed({"outer": "optimizer"}).outer_settings is None
    stored = own.to_dict() | {"outer": "trust-region"}  # as once was written
    assert TrainConfig.from_dict(stored) == TrainConfig()
    with pytest.raises(ConfigError, match="trust-region has none"):
        TrainConfig().changed({"outer_settings.caution": 0.25})
