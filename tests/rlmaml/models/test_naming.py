"""What the names of parameters say."""

import pytest
import torch

from rlmaml import models
from rlmaml.errors import ConfigError


def test_names_of_batch_norm():
    norms = ["norm.weight", "blocks.0.norm.bias", "bn1.weight", "a.batch_norm2.bias", "BN.bias"]
    others = ["norm.weight.x", "normal.weight", "mean.0.weight", "log_std", "abn.weight"]
    values = torch.ones(1)
    assert models.norm_parameters(dict.fromkeys([*norms, *others], values)) == norms


def test_layers_are_in_the_order_of_their_numbers_whatever_that_of_the_parameters():
    deep = models.parameters(models.RegressionMLP(1, 1, models.PolicyConfig(hidden=(2,) * 6)))
    names = sorted(deep, reverse=True)  # "mean.2" comes before "mean.10" in no such order
    assert models.layers(names) == [f"mean.{2 * k}" for k in range(7)]


def test_layers_of_outputs_alone_count_where_there_are_such():
    convolutional = models.ConvClassifier((1, 8, 8), 3, models.ConvConfig(blocks=2))
    assert models.layers(models.parameters(convolutional)) == ["logits"]
    assert models.layers(["a.1.weight", "a.1.bias", "a.0.weight"]) == ["a.0", "a.1"]
    assert models.layers(["mean.0.weight", "log_std"]) == ["mean.0"]


@pytest.mark.parametrize("names", [["first.weight", "second.weight"], ["first.bias"], []])
def test_names_that_do_not_tell_the_order_are_refused(names):
    with pytest.raises(ConfigError, match="do not tell which layer"):
        models.layers(names)


def test_the_head_is_the_last_layer_and_a_gaussians_deviation():
    names = ["log_std", "mean.0.bias", "mean.0.weight", "mean.2.bias", "mean.2.weight"]
    assert models.head(names) == ("log_std", "mean.2.bias", "mean.2.weight")
    deep = [f"mean.{k}.{part}" for k in (10, 2) for part in ("weight", "bias")]
    assert models.head(deep) == ("mean.10.weight", "mean.10.bias")


def test_a_head_that_is_named_ends_at_a_dot():
    names = ["a.weight", "a.bias", "ab.weight", "b"]
    assert models.head(names, ("a",)) == ("a.weight", "a.bias")
    assert models.head(names, ("b", "a.bias")) == ("a.bias", "b")
    for absent in ("c", "a.", "a.weig", ""):
        with pytest.raises(ConfigError, match="There is no parameter"):
            models.head(names, (absent,))


@pytest.mark.parametrize("model", ["bag", "transformer"])
def test_units_of_embeddings_lie_along_their_last_axis(model):
    config = models.TextConfig(model=model, dimension=8, heads=2, feedforward=4)
    kind = models.BagOfEmbeddings if model == "bag" else models.TextTransformer
    sizes = (11, 3) if model == "bag" else (11, 6, 3)
    params = models.parameters(kind(*sizes, config))
    for name in {"words.weight", "places"} & set(params):
        assert params[name].shape[models.unit_axis(name)] == 8
    last = models.layers(params)[-1]
    assert params[f"{last}.weight"].shape[models.unit_axis(f"{last}.weight")] == 3
    assert models.unit_axis(f"{last}.bias") == 0
