"""Distributions: against torch.distributions, and samples against what they are drawn from."""

import itertools
import math

import numpy as np
import pytest
import torch

from rlmaml import tree
from rlmaml.distributions import NO_CHOICE, Bernoullis, Categorical, Gaussian, MultiCategorical


def gaussian(seed=0):
    g = torch.Generator().manual_seed(seed)
    return Gaussian(*(torch.randn(7, 3, generator=g, dtype=torch.float64) for _ in range(2)))


def categorical(seed=0):
    g = torch.Generator().manual_seed(seed)
    return Categorical(torch.randn(7, 4, generator=g, dtype=torch.float64))


SIZES = (2, 4, 3)


def multi_categorical(seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.full((7, 3, 4), NO_CHOICE, dtype=torch.float64)
    for i, n in enumerate(SIZES):
        logits[:, i, :n] = torch.randn(7, n, generator=g, dtype=torch.float64)
    return MultiCategorical(logits)


def bernoullis(seed=0):
    g = torch.Generator().manual_seed(seed)
    return Bernoullis(torch.randn(7, 3, generator=g, dtype=torch.float64))


PRODUCTS = {
    multi_categorical: list(itertools.product(*map(range, SIZES))),
    bernoullis: list(itertools.product(range(2), repeat=3)),
}


def of_each(p, actions):
    """Log-probabilities of actions [A, D], [A, ...]."""
    return torch.stack([p.log_prob(action.expand(*p.mode().shape)) for action in actions])


def test_gaussian_against_torch_distributions():
    p, q = gaussian(0), gaussian(1)
    action = torch.randn(7, 3, dtype=torch.float64)
    ours = torch.distributions.Independent(torch.distributions.Normal(p.mean, p.log_std.exp()), 1)
    theirs = torch.distributions.Independent(torch.distributions.Normal(q.mean, q.log_std.exp()), 1)
    torch.testing.assert_close(p.log_prob(action), ours.log_prob(action))
    torch.testing.assert_close(p.entropy(), ours.entropy())
    torch.testing.assert_close(p.kl(q), torch.distributions.kl_divergence(ours, theirs))


def test_categorical_against_torch_distributions():
    p, q = categorical(0), categorical(1)
    action = torch.randint(4, (7,))
    ours, theirs = (torch.distributions.Categorical(logits=d.logits) for d in (p, q))
    torch.testing.assert_close(p.log_prob(action), ours.log_prob(action))
    torch.testing.assert_close(p.entropy(), ours.entropy())
    torch.testing.assert_close(p.kl(q), torch.distributions.kl_divergence(ours, theirs))


@pytest.mark.parametrize("make", PRODUCTS)
def test_products_against_all_of_their_actions(make):
    p, q = make(0), make(1)
    actions = torch.tensor(PRODUCTS[make])
    log_p, log_q = of_each(p, actions), of_each(q, actions)
    torch.testing.assert_close(log_p.exp().sum(0), torch.ones(7, dtype=torch.float64))
    torch.testing.assert_close(p.entropy(), -(log_p.exp() * log_p).sum(0))
    torch.testing.assert_close(p.kl(q), (log_p.exp() * (log_p - log_q)).sum(0))
    assert torch.equal(p.mode(), actions[log_p.argmax(0)])


@pytest.mark.parametrize("make", PRODUCTS)
def test_products_draw_each_action_as_often_as_it_is_likely(make):
    p = type(make())(make().logits[0].float())
    draws = p.sample(torch.from_numpy(p.noise(np.random.default_rng(0), (20_000,))))
    actions = torch.tensor(PRODUCTS[make])
    counts = (draws[:, None] == actions).all(-1).float().mean(0)
    assert counts.sum() == 1  # none is drawn that there is not
    torch.testing.assert_close(counts, of_each(p, actions).exp(), atol=0.012, rtol=0)


@pytest.mark.parametrize("make", PRODUCTS)
def test_products_have_finite_derivatives_where_they_are_sure(make):
    p = make()
    sure = p.logits.clamp(min=NO_CHOICE / 2).mul(80).clamp(min=NO_CHOICE).requires_grad_()
    kind = type(p)
    value = kind(sure).kl(p) + kind(sure).entropy() + kind(sure).log_prob(p.mode())
    assert value.isfinite().all()
    assert torch.autograd.grad(value.sum(), sure)[0].isfinite().all()


@pytest.mark.parametrize("make", [gaussian, categorical, *PRODUCTS])
def test_fisher_is_the_hessian_of_the_kl(make):
    p = make()
    flat, unravel = tree.ravel(tuple(p))
    hessian = torch.func.hessian(lambda v: p.kl(type(p)(*unravel(v))).sum())(flat)
    tangent = torch.randn_like(flat)
    product, _ = tree.ravel(tuple(p.fisher(type(p)(*unravel(tangent)))))
    torch.testing.assert_close(product, hessian @ tangent)


def test_samples_follow_the_distribution():
    rng = np.random.default_rng(0)
    p = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([0.0, math.log(0.5)]))
    draws = p.sample(torch.from_numpy(p.noise(rng, (20_000,))))
    torch.testing.assert_close(draws.mean(0), p.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(draws.std(0), p.log_std.exp(), atol=0.03, rtol=0)
    c = Categorical(torch.tensor([0.0, 1.0, 2.0]))
    counts = torch.bincount(c.sample(torch.from_numpy(c.noise(rng, (20_000,))))) / 20_000
    torch.testing.assert_close(counts, c.logits.softmax(-1), atol=0.02, rtol=0)
