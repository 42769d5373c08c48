"""Methods: one a file, the same order in each. A file says only what is different."""

from __future__ import annotations

import importlib

from rlmaml.algorithms.base import Algorithm

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
"""Where each method is; the first is the usual one. Files are read when they are asked for."""


def get_algorithm(name: str) -> type[Algorithm]:
    """The class of a method.

    Args:
        name: one of `TABLE`, or `module:Class` of a method of your own.

    Raises:
        ValueError: there is none.
    """
    place = TABLE.get(name, name)
    module, _, member = place.partition(":")
    if not member:
        raise ValueError(
            f"There is no method {name!r}: use one of {', '.join(TABLE)}, or MODULE:CLASS of your "
            "own."
        )
    try:
        found = getattr(importlib.import_module(module), member)
    except (ImportError, AttributeError) as problem:
        raise ValueError(f"Cannot import the method {place!r}: {problem}.") from problem
    if not (isinstance(found, type) and issubclass(found, Algorithm)):
        raise ValueError(
            f"{place} is not a method: make it a subclass of rlmaml.algorithms.base.Algorithm."
        )
    return found
