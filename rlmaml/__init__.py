"""rlmaml: meta-learn control policies, and few-shot learners, with MAML.

The names below are what most programs need; docs/notation.md explains the letters.
"""

from importlib.metadata import PackageNotFoundError, version

from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms import get_algorithm
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.envs_location import register_environments
from rlmaml.learner import AdaptedPolicy, Learner, Predictor, load
from rlmaml.models.conv import ConvClassifier, ConvConfig
from rlmaml.models.mlp import CategoricalMLP, GaussianMLP, PolicyConfig, RegressionMLP
from rlmaml.models.text import BagOfEmbeddings, TextConfig, TextTransformer
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.sampling.examples import ExampleSampler
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize

__all__ = [
    "MAML",
    "AdaptedPolicy",
    "AdvantageConfig",
    "Algorithm",
    "BagOfEmbeddings",
    "CategoricalMLP",
    "ConvClassifier",
    "ConvConfig",
    "ExampleSampler",
    "GaussianMLP",
    "InnerConfig",
    "Learner",
    "Optimizer",
    "PolicyConfig",
    "Predictor",
    "RegressionMLP",
    "RolloutSampler",
    "TextConfig",
    "TextTransformer",
    "TrustRegion",
    "get_algorithm",
    "load",
    "vectorize",
]

register_environments()

try:
    __version__ = version("rlmaml")
except PackageNotFoundError:  # a clone that is on the path without being installed
    __version__ = "unknown"
