"""What earlier versions wrote, in the words of this one."""

import pytest
import torch

from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.migration import best_iteration, migrate_config, migrate_state, predictor_spec
from rlmaml.models.spec import PredictorSpec

BEFORE = {
    "env": {"id": "rlmaml/ImageFolder-v0", "kwargs": {"colour": True}, "vectorisation": "sync"},
    "algorithm": "meta-sgd",
    "method": {"spread": 0.5, "seed": 0},
    "inner": {"steps": 1, "surrogate": "dice", "step_size": 0.4, "later_step_size": 0.1},
    "outer": "optimiser",
    "optimiser": {"name": "SGD", "learning_rate": 0.5},
    "inner_advantages": {"normalise": False},
    "normalise_observations": True,
    "tensorboard": True,
}


def test_renamed_fields_keep_their_values():
    config = TrainConfig.from_dict(BEFORE)
    assert config.env.kwargs == {"color": True}
    assert config.env.vectorization == "sync"
    assert config.algorithm_settings.spread == 0.5
    assert (config.inner.step_size, config.inner.later_step_share) == (0.4, 0.25)
    assert (config.outer, config.optimizer.name) == ("optimizer", "SGD")
    assert config.inner_advantages.normalize is False
    assert config.normalize_observations is True
    assert config.track == ("tensorboard",)
    assert BEFORE["outer"] == "optimiser", "what was read is not written to"


def test_later_steps_of_another_size_in_training_are_no_more():
    inner = {"steps": 2, "step_size": 0.4, "later_step_size": 0.1}
    with pytest.raises(ConfigError, match=r"later_step_size 0\.1 .* train anew"):
        migrate_config({"inner": inner})
    assert migrate_config({"inner": inner | {"later_step_size": None}})["inner"]["steps"] == 2
    alone = migrate_config({"inner": {"later_step_size": 0.05}})
    assert alone["inner"]["later_step_share"] == 0.5
    for wrong in ({"later_step_size": "x"}, {"later_step_size": 0.1, "step_size": 0}):
        with pytest.raises(ConfigError, match="must be a positive number"):
            migrate_config({"inner": wrong})


def test_a_configuration_of_today_stays_as_it_is():
    today = TrainConfig.from_dict(BEFORE).to_dict()
    assert migrate_config(today) == today


def test_runs_before_surrogates_could_be_chosen_had_the_log_likelihood():
    assert TrainConfig.from_dict({"inner": {}}).inner.surrogate == "log-likelihood"
    assert TrainConfig.from_dict({"inner": {}, "data": "examples"}).inner.surrogate == "lvc"
    old = {
        "inner": {"adjoint": "unrolled"},
        "objective": {"name": "adapted", "reduction": "episodes"},
    }
    assert TrainConfig.from_dict(old).outer_reduction == "episodes"


def test_state_and_best_checkpoint():
    state = {
        "normaliser": 1,
        "outer": {"optimiser": 2, "iteration": 3},
        "totals": {"best_iteration": 4},
    }
    migrated = migrate_state(state)
    assert migrated["normalizer"] == 1
    assert migrated["outer"] == {"optimizer": 2, "iteration": 3}
    assert best_iteration(migrated) == 4
    assert best_iteration({}) is None


@pytest.mark.parametrize(
    ("params", "spec"),
    [
        ({"mean.0.bias": 8, "mean.10.bias": 2, "mean.2.bias": 5}, (None, 2, False)),
        ({"logits.0.bias": 6, "logits.2.bias": 3}, (None, 3, True)),
        ({"words.weight": (50, 4), "logits.0.bias": 5}, (50, 5, True)),
    ],
)
def test_networks_of_before_are_known_by_their_last_layer(params, spec):
    meta = {"params": {name: torch.zeros(shape) for name, shape in params.items()}}
    assert predictor_spec(None, meta)[1:] == spec


def test_a_checkpoint_of_today_says_it_itself():
    spec = PredictorSpec((1, 8, 8), None, 3, True)
    meta = {"params": {"logits.bias": torch.zeros(3)}}
    assert predictor_spec(spec._asdict() | {"input_shape": [1, 8, 8]}, meta) == spec


@pytest.mark.parametrize(
    "said",
    [
        {"output_size": 10**12},
        {"output_size": -1},
        {"output_size": True},
        {"output_size": "3"},
        {"num_tokens": 10**12},
        {"num_tokens": 0},
        {"input_shape": None},
        {"input_shape": "abc"},
        {"input_shape": [-5]},
        {"input_shape": [10**5, 10**5]},
        {"mine": 1},
    ],
)
def test_a_word_that_the_parameters_are_none_of_is_refused(said):
    meta = {"params": {"logits.bias": torch.zeros(3), "words.weight": torch.zeros(50, 4)}}
    meta["mine"] = {"empty": torch.zeros(0, 10**12)}  # which takes no memory
    stored = PredictorSpec((1,), 50, 3, True)._asdict()
    assert predictor_spec(stored, meta).num_tokens == 50
    with pytest.raises(ConfigError, match="The checkpoint's predictor is"):
        predictor_spec(stored | said, meta)


@pytest.mark.parametrize("meta", [{}, {"params": {"mean.weight": torch.zeros(2, 2)}}])
def test_parameters_of_no_predictor_are_refused(meta):
    with pytest.raises(ConfigError, match="no last layer"):
        predictor_spec(None, meta)
