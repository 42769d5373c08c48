"""rlmaml: meta-learn control policies with MAML.

The names below are what most programs need; docs/notation.md explains the letters.
"""

from rlmaml.algorithms.maml import MAML, InnerConfig
from rlmaml.models import CategoricalMLP, GaussianMLP, PolicyConfig
from rlmaml.sampling import AdvantageConfig, RolloutSampler
from rlmaml.tasks import vectorise
from rlmaml.trpo import TrustRegion

__all__ = [
    "MAML",
    "AdvantageConfig",
    "CategoricalMLP",
    "GaussianMLP",
    "InnerConfig",
    "PolicyConfig",
    "RolloutSampler",
    "TrustRegion",
    "vectorise",
]
