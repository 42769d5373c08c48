"""Algorithms: one a file, the same order in each. A file says only what is different."""

from __future__ import annotations

from rlmaml.algorithms.base import Algorithm
from rlmaml.errors import ConfigError
from rlmaml.lookup import find_class

TABLE: dict[str, str] = {
    "maml": "rlmaml.algorithms.maml:MAML",
    "fo-maml": "rlmaml.algorithms.fo_maml:FOMAML",
    "hf-maml": "rlmaml.algorithms.hf_maml:HFMAML",
    "imaml": "rlmaml.algorithms.imaml:IMAML",
    "reptile": "rlmaml.algorithms.reptile:Reptile",
    "meta-sgd": "rlmaml.algorithms.meta_sgd:MetaSGD",
    "maml++": "rlmaml.algorithms.maml_plus_plus:MAMLPlusPlus",
    "alpha-maml": "rlmaml.algorithms.alpha_maml:AlphaMAML",
    "e-maml": "rlmaml.algorithms.e_maml:EMAML",
    "promp": "rlmaml.algorithms.promp:ProMP",
    "anil": "rlmaml.algorithms.anil:ANIL",
    "cavia": "rlmaml.algorithms.cavia:CAVIA",
    "pretraining": "rlmaml.algorithms.pretraining:Pretraining",
    "meta-transfer": "rlmaml.algorithms.meta_transfer:MetaTransfer",
    "bayesian-maml": "rlmaml.algorithms.bayesian_maml:BayesianMAML",
}
"""Location of each algorithm; the first is the default one. Files are read when asked for."""


def get_algorithm(name: str) -> type[Algorithm]:
    """The class of an algorithm.

    Args:
        name: one of `TABLE`, or `module:Class` of an algorithm of your own.

    Raises:
        ConfigError: an unknown name, or a class that is no `Algorithm`.
    """
    kind = find_class(TABLE, name, "algorithm")
    if not issubclass(kind, Algorithm):
        raise ConfigError(
            f"{kind.__module__}:{kind.__qualname__} is no algorithm: make it a subclass of "
            "rlmaml.algorithms.base.Algorithm."
        )
    return kind
