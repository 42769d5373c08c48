"""Distributions: against torch.distributions, and samples against what they are drawn from."""

import math

import numpy as np
import pytest
import torch

from rlmaml import tree
from rlmaml.distributions import Categorical, Gaussian


def gaussian(seed=0):
    g = torch.Generator().manual_seed(seed)
    return Gaussian(*(torch.randn(7, 3, generator=g, dtype=torch.float64) for _ in range(2)))


def categorical(seed=0):
    g = torch.Generator().manual_seed(seed)
    return Categorical(torch.randn(7, 4, generator=g, dtype=torch.float64))


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


@pytest.mark.parametrize("make", [gaussian, categorical])
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
