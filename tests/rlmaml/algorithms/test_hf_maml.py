"""HF-MAML as a method; the accuracy of its adjoint is in tests/rlmaml/test_adjoints.py."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch

from rlmaml.algorithms.fo_maml import FOMAML
from rlmaml.algorithms.hf_maml import HFMAML
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.objective import fisher_product, meta_gradient, over_tasks, reference
from rlmaml.types import MetaBatch
from tests.helpers.problems import (
    cosine_gradient,
    cosine_hessian,
    cosine_loss,
    cosines,
    quadratic_loss,
    quadratics,
    random_batch,
)

ALPHA = 0.3
META = {"params": {"x": torch.linspace(-1, 1, 5, dtype=torch.float64)}}


def gradient(kind, loss, batch, settings=None, **inner):
    config = InnerConfig(steps=len(batch.support), step_size=ALPHA, **inner)
    made = {"inner_loss": lambda policy: loss, "outer_loss": lambda policy: loss}
    method = kind(None, config, settings=settings, **made)
    return meta_gradient(method.objective(method.initial_state(META)), META, batch)[1]


@pytest.mark.parametrize("steps", [1, 3])
def test_on_quadratics_it_is_maml(steps):
    tasks, query = quadratics(4, 5), quadratics(4, 5, seed=1)
    batch = MetaBatch((tasks,) * steps, query)
    for settings in (None, HFMAML.Settings(shift=3.0), HFMAML.Settings(hessian_lipschitz=0.5)):
        found = gradient(HFMAML, quadratic_loss, batch, settings)
        expected = gradient(MAML, quadratic_loss, batch)
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("own", [False, True])
def test_the_error_against_maml_falls_with_the_square_of_the_shift(own):
    support, hessian, query = (cosines(4, 5, seed=seed) for seed in (1, 2, 3))
    batch = MetaBatch((support,), query, (hessian,) if own else ())
    how = {"hessian": "separate"} if own else {}
    x = META["params"]["x"]
    adapted = x - ALPHA * over_tasks(partial(cosine_gradient, x))(support)
    v = over_tasks(cosine_gradient)(adapted, query)
    curvature = over_tasks(partial(cosine_hessian, x))(hessian if own else support)
    curved = curvature * v  # diagonal
    truth = (v - ALPHA * curved).mean(0)
    torch.testing.assert_close(gradient(MAML, cosine_loss, batch, **how), truth)
    errors = [
        (gradient(HFMAML, cosine_loss, batch, HFMAML.Settings(shift=h), **how) - truth).norm()
        for h in (0.2, 0.1, 0.05)
    ]
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert slopes == pytest.approx([2, 2], abs=0.03)
    assert errors[-1] < 0.02 * (v.mean(0) - truth).norm()  # and what FO-MAML leaves out is there


def test_a_trust_region_measures_with_the_exact_jacobian():
    objective, meta, batch = random_batch(1, tasks=2)
    config = InnerConfig(step_size=0.4, surrogate="log-likelihood")
    products = {}
    for kind in (MAML, HFMAML, FOMAML):
        # Differences over so far are no Jacobian: the region must not measure by them.
        settings = HFMAML.Settings(shift=0.5) if kind is HFMAML else None
        method = kind(objective.policy, config, settings=settings)
        its = method.objective(method.initial_state(meta))
        product = fisher_product(its, meta, batch, reference(its, meta, batch))
        v = torch.linspace(-1, 1, sum(x.numel() for x in meta["params"].values())).double()
        products[kind] = product(v)
    torch.testing.assert_close(products[HFMAML], products[MAML])
    assert (products[FOMAML] - products[MAML]).norm() > 1e-3


def test_settings_that_each_determine_the_shift_are_refused_together():
    with pytest.raises(ValueError, match="each determine h"):
        HFMAML.Settings(shift=0.1, hessian_lipschitz=1.0)
    with pytest.raises(
        ValueError, match=r"algorithm_settings.shift must be positive or None, got 0"
    ):
        HFMAML.Settings(shift=0.0)
