"""Computations on a device of no memory: what is made on another, or looked at, is found.

Tensors of torch's device `meta` have shapes and no values. What would be made on the CPU beside a
GPU's is told apart from them, and a look at a value, for which a GPU would be waited for, raises.
"""

import contextlib

import pytest
import torch

from rlmaml import algorithms, models, tree
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.errors import ConfigError
from rlmaml.linalg import solve
from rlmaml.models.mlp import PolicyConfig
from rlmaml.objective import evaluate, fisher_product, gradient_and_reference
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from tests.helpers import parts
from tests.helpers.devices import Elsewhere, on_cpu


def learn(method, meta, batch, fraction=None):
    """A gradient, the judgement of a candidate, and a curvature product: what updates are made of.

    Returns:
        what was made elsewhere.
    """
    meta, batch = tree.to(meta, "meta"), tree.to(method.prepare(batch), "meta")
    objective = method.objective(method.initial_state(meta))
    with Elsewhere() as elsewhere:
        losses, gradient, ref = gradient_and_reference(objective, meta, batch)
        made = [losses, gradient, *evaluate(objective, meta, batch, ref)]
        if fraction is not None:
            product = fisher_product(objective, meta, batch, ref, fraction=fraction)
            made.append(product(gradient))
    assert not any(map(on_cpu, made))
    return elsewhere.made


def test_what_is_made_elsewhere_or_looked_at_is_found():
    x = torch.ones(3, device="meta")
    with Elsewhere() as elsewhere:
        x * 2 + torch.arange(3, device="meta")
    assert not elsewhere.made
    for at_fault in (lambda: x + torch.zeros(()), lambda: x[torch.arange(3)]):
        with Elsewhere() as elsewhere:
            at_fault()
        assert elsewhere.made
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(x.sum() > 0)


def takes_examples(name):
    return "episodes" not in algorithms.get_algorithm(name).requires


@pytest.mark.parametrize("name", filter(takes_examples, algorithms.TABLE))
def test_an_update_from_examples_stays_where_its_data_are(name):
    assert not learn(*parts.regression(algorithms.get_algorithm(name)))


def made(kind, policy):
    """A method for episodes with each surrogate, by the outer step that it takes."""
    settings = kind.Settings(particles=2) if kind.__name__ == "BayesianMAML" else None
    found = []
    for surrogate in ("lvc", "dice", "log-likelihood"):
        for outer in (TrustRegion(), Optimizer()):
            with contextlib.suppress(ConfigError):
                inner = InnerConfig(steps=2, surrogate=surrogate)
                found.append(kind(policy, inner, outer, settings))
                break
    assert found
    return found


@pytest.mark.parametrize("name", algorithms.TABLE)
def test_an_update_from_episodes_stays_where_its_data_are(name):
    module = models.GaussianMLP(1, 1, PolicyConfig(hidden=(8,)))
    for method in made(algorithms.get_algorithm(name), models.functional(module)):
        state = method.init(models.parameters(module))
        batch = parts.collected(method, state)
        for fraction in (1.0, 0.5) if isinstance(method.outer, TrustRegion) else (None,):
            assert not learn(method, state.meta, batch, fraction)


def test_conjugate_gradient_waits_for_no_value_where_it_is_not_to_stop_early():
    matrix, b = torch.ones(3, 3, device="meta"), torch.ones(3, device="meta")
    with Elsewhere() as elsewhere:
        x, residual, spent = solve(lambda v: matrix @ v, b, iterations=4, early=False)
    assert not elsewhere.made
    assert x.shape == residual.shape == b.shape
    assert spent == 4
