"""Which network is made for which spaces."""

import gymnasium
import pytest
import torch

from rlmaml import models
from rlmaml.errors import ConfigError

Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete
SMALL = models.PolicyConfig(hidden=(4,))
CONV = models.ConvConfig(filters=2, blocks=2)


def predictor(shape, outputs, text=None, num_tokens=None):
    return models.predictor_for(shape, outputs, SMALL, CONV, text, num_tokens)


def test_policies_are_gaussian_or_categorical_by_the_actions():
    gaussian = models.policy_for((3,), Box(-1, 1, (2,)), SMALL)
    categorical = models.policy_for((3,), Discrete(5), SMALL)
    assert isinstance(gaussian, models.GaussianMLP)
    assert isinstance(categorical, models.CategoricalMLP)
    x = torch.zeros(7, 3)
    assert gaussian(x).mean.shape == (7, 2)
    assert categorical(x).logits.shape == (7, 5)
    assert [layer.out_features for layer in gaussian.mean if hasattr(layer, "weight")] == [4, 2]


@pytest.mark.parametrize(
    ("shape", "outputs", "kind", "size"),
    [
        ((3,), Box(-1, 1, (2,)), models.RegressionMLP, 2),
        ((3,), Discrete(5), models.CategoricalMLP, 5),
        ((1, 8, 8), Discrete(5), models.ConvClassifier, 5),
    ],
)
def test_predictors_are_made_for_inputs_and_targets(shape, outputs, kind, size):
    model = predictor(shape, outputs)
    assert isinstance(model, kind)
    assert model(torch.zeros(7, *shape))[0].shape == (7, size)


def test_images_take_their_own_configuration():
    filters = {
        value.shape[0]
        for name, value in models.parameters(predictor((1, 8, 8), Discrete(5))).items()
        if "convolution.weight" in name
    }
    assert filters == {2}


def test_texts_are_of_the_kind_asked_for_and_a_bag_otherwise():
    transformer = models.TextConfig(model="transformer", dimension=8, heads=2, feedforward=4)
    plain, asked = (predictor((6,), Discrete(3), text, 11) for text in (None, transformer))
    assert isinstance(plain, models.BagOfEmbeddings)
    assert isinstance(asked, models.TextTransformer)
    ids = torch.full((2, 6), 10)  # the largest id
    for model in (plain, asked):
        assert model.words.weight.shape[0] == 11
        assert model(ids).logits.shape == (2, 3)
    assert asked.places.shape == (6, 8)


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.policy_for((2, 3), Discrete(2), SMALL),
        lambda: predictor(None, Discrete(2)),
        lambda: predictor((1, 8, 8), Box(-1, 1, (2,))),  # images are for classes alone
        lambda: predictor((8, 8), Discrete(2)),
        lambda: predictor((3,), Box(-1, 1, (2, 2))),
    ],
)
def test_what_is_no_vector_is_refused_with_what_to_do(make):
    with pytest.raises(ConfigError, match=r"shape .*FlattenObservation"):
        make()


@pytest.mark.parametrize("shape", [(2, 3), ()])
def test_actions_that_are_no_vectors_are_refused_with_what_to_do(shape):
    with pytest.raises(ConfigError, match=r"act in vectors.*TransformAction"):
        models.policy_for((2,), Box(-1, 1, shape), SMALL)


def test_token_ids_are_for_classes():
    with pytest.raises(ValueError, match="for classification"):
        predictor((4,), Box(-1, 1, (2,)), None, 9)
