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
    names = ["mean.10.weight", "mean.2.weight", "mean.0.bias", "mean.0.weight", "log_std"]
    assert models.layers(names) == ["mean.0", "mean.2", "mean.10"]
    with pytest.raises(ConfigError, match="do not tell which layer"):
        models.layers(["trunk.weight", "top.weight"])


def test_the_head_is_the_last_layer_and_log_std_or_what_is_named():
    params = dict.fromkeys(["log_std", "mean.0.weight", "mean.2.weight", "mean.2.bias"])
    assert models.head(params) == ("log_std", "mean.2.weight", "mean.2.bias")
    assert models.head(params, ("mean.0",)) == ("mean.0.weight",)
    with pytest.raises(ConfigError, match=r"no parameter 'mean.4'"):
        models.head(params, ("mean.4",))
