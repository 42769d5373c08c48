"""Networks for spaces."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from rlmaml import models
from rlmaml.errors import ConfigError

SMALL = models.PolicyConfig(hidden=(4,))
CONV = models.ConvConfig(blocks=2, filters=3)
REALS = Box(-np.inf, np.inf, (2,))


def test_policies_are_of_the_action_space():
    assert type(models.policy_for((3,), REALS, SMALL)) is models.GaussianMLP
    assert type(models.policy_for((3,), Discrete(4), SMALL)) is models.CategoricalMLP
    for shape, actions in (((3, 3), REALS), ((3,), Box(-1, 1, (2, 2)))):
        with pytest.raises(ConfigError, match="take and give vectors"):
            models.policy_for(shape, actions, SMALL)


@pytest.mark.parametrize(
    ("shape", "outputs", "tokens", "kind"),
    [
        ((3,), REALS, None, models.RegressionMLP),
        ((3,), Discrete(4), None, models.CategoricalMLP),
        ((1, 8, 8), Discrete(4), None, models.ConvClassifier),
        ((7,), Discrete(4), 11, models.BagOfEmbeddings),
    ],
)
def test_predictors_are_of_inputs_and_outputs(shape, outputs, tokens, kind):
    assert type(models.predictor_for(shape, outputs, SMALL, CONV, None, tokens)) is kind


@pytest.mark.parametrize("shape", [None, (3, 3)])
def test_other_inputs_are_refused(shape):
    with pytest.raises(ConfigError, match="take and give vectors"):
        models.predictor_for(shape, Discrete(4), SMALL, CONV)
