"""FO-MAML: its update in closed form, and what its trust region measures by."""

import pytest
import torch

from rlmaml import Optimizer, tree
from rlmaml.algorithms.fo_maml import FOMAML
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.errors import ConfigError
from rlmaml.inner import adapt
from rlmaml.objective import fisher_product, reference
from rlmaml.returns import masked_mean
from rlmaml.types import MetaBatch
from tests.helpers import parts
from tests.helpers.problems import one, quadratic_loss, quadratics, random_batch

ALPHA, BETA = 0.3, 0.1


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_its_update_is_along_the_mean_gradient_at_the_adapted_parameters(steps):
    support, query = (quadratics(4, 5, seed=seed) for seed in range(2))
    x = torch.randn(5, dtype=torch.float64)
    method = FOMAML(
        None,
        InnerConfig(steps=steps, step_size=ALPHA),
        Optimizer("SGD", learning_rate=BETA),
        inner_loss=lambda policy: quadratic_loss,
        outer_loss=lambda policy: quadratic_loss,
    )
    batch = MetaBatch((support,) * steps, query)
    new, _ = method.update(method.initial_state({"params": {"x": x}}), batch)
    total = torch.zeros(5, dtype=torch.float64)
    for i in range(4):
        task, last = one(support, i), one(query, i)
        phi = x
        for _ in range(steps):
            phi = phi - ALPHA * task.curvature @ (phi - task.center)
        total += last.curvature @ (phi - last.center) / 4
    torch.testing.assert_close(new.meta["params"]["x"], x - BETA * total)


def test_it_adapts_as_maml_does_and_is_led_elsewhere():
    results = []
    for kind in (MAML, FOMAML):
        method, meta, batch = parts.regression(kind)
        adapted = adapt(method.inner, meta, one(batch.support, 0))[-1]
        gradient = tree.ravel(parts.gradient(method, meta, batch))[0]
        results.append((tree.ravel(adapted)[0], gradient))
    (exact, full), (same, first) = results
    assert torch.equal(exact, same)
    assert (full - first).norm() > 0.01 * full.norm()


def test_a_trust_region_takes_the_jacobian_for_the_identity():
    """The curvature is the mean Fisher information at φ_K, with nothing before or behind it."""
    objective, meta, batch = random_batch(1, tasks=2)
    config = InnerConfig(step_size=0.4, surrogate="log-likelihood")
    method = FOMAML(objective.policy, config)
    own = method.objective(method.initial_state(meta))
    ref = reference(own, meta, batch)
    v = torch.randn_like(tree.ravel(meta)[0])
    expected = torch.zeros_like(v)
    for i in range(2):
        data, params = one((batch, ref.iterates[-1]), i)
        flat, unravel = tree.ravel(params)
        old = objective.policy(params, data.query.observations)

        def kl(w, unravel=unravel, data=data, old=old):
            new = objective.policy(unravel(w), data.query.observations)
            return masked_mean(old.kl(new), data.query.mask)

        expected += torch.func.hessian(kl)(flat) @ v / 2
    torch.testing.assert_close(fisher_product(own, meta, batch, ref)(v), expected)


def test_data_for_a_derivative_that_it_leaves_out_are_refused():
    with pytest.raises(ConfigError, match="FOMAML: its update leaves out"):
        FOMAML(None, InnerConfig(hessian="separate"))
