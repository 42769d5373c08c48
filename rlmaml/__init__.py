"""rlmaml: meta-learn control policies, and few-shot learners, with MAML.

The names below are what most programs need; docs/notation.md explains the letters.
"""

from rlmaml.algorithms import method
from rlmaml.algorithms.maml import MAML
from rlmaml.api import AdaptedPolicy, Learner, Predictor, load
from rlmaml.examples import ExampleSampler
from rlmaml.method import InnerConfig, Method
from rlmaml.models import (
    CategoricalMLP,
    ConvClassifier,
    ConvConfig,
    GaussianMLP,
    PolicyConfig,
    RegressionMLP,
)
from rlmaml.optimisers import Optimiser
from rlmaml.sampling import AdvantageConfig, RolloutSampler
from rlmaml.tasks import vectorise
from rlmaml.text import BagOfEmbeddings, TextConfig, TextTransformer
from rlmaml.trpo import TrustRegion

__all__ = [
    "MAML",
    "AdaptedPolicy",
    "AdvantageConfig",
    "BagOfEmbeddings",
    "CategoricalMLP",
    "ConvClassifier",
    "ConvConfig",
    "ExampleSampler",
    "GaussianMLP",
    "InnerConfig",
    "Learner",
    "Method",
    "Optimiser",
    "PolicyConfig",
    "Predictor",
    "RegressionMLP",
    "RolloutSampler",
    "TextConfig",
    "TextTransformer",
    "TrustRegion",
    "load",
    "method",
    "vectorise",
]
