"""Models: ordinary `nn.Module`s that return one of our distributions.

A policy, a regression and a classification are the same thing: a distribution given the input.
Bring your own: any module whose `forward(inputs [..., *x])` returns one of `rlmaml.distributions`
with the same leading shape can be meta-trained. It must be a pure function of its
parameters and input (no running statistics, no dropout), because the library calls it through
`functional_call` with parameters of its choosing; a trial before the first call says what is wrong.
Parameters with `requires_grad=False` are constants.
"""

from rlmaml.models.conv import ConvClassifier, ConvConfig
from rlmaml.models.factory import policy_for, predictor_for
from rlmaml.models.functional import Functional, check_learns, functional, parameters
from rlmaml.models.mlp import (
    ACTIVATIONS,
    BernoulliMLP,
    CategoricalMLP,
    GaussianMLP,
    MultiCategoricalMLP,
    PolicyConfig,
    RegressionMLP,
    mlp,
)
from rlmaml.models.naming import head, layers, norm_parameters, unit_axis
from rlmaml.models.text import BagOfEmbeddings, TextConfig, TextTransformer
from rlmaml.models.trial import explained

__all__ = [
    "ACTIVATIONS",
    "BagOfEmbeddings",
    "BernoulliMLP",
    "CategoricalMLP",
    "ConvClassifier",
    "ConvConfig",
    "Functional",
    "GaussianMLP",
    "MultiCategoricalMLP",
    "PolicyConfig",
    "RegressionMLP",
    "TextConfig",
    "TextTransformer",
    "check_learns",
    "explained",
    "functional",
    "head",
    "layers",
    "mlp",
    "norm_parameters",
    "parameters",
    "policy_for",
    "predictor_for",
    "unit_axis",
]
