"""Conjugate gradient: against a direct solve, where it stops, and what is left."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmaml.linalg import conjugate_gradient, solve


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(0, 10_000))
def test_conjugate_gradient_against_solve(size, seed):
    rng = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=rng, dtype=torch.float64)
    a = root @ root.T + 0.5 * torch.eye(size, dtype=torch.float64)
    b = torch.randn(size, generator=rng, dtype=torch.float64)
    before = b.clone()
    x, spent = conjugate_gradient(lambda v: a @ v, b, iterations=3 * size, tolerance=1e-24)
    torch.testing.assert_close(x, torch.linalg.solve(a, b), rtol=1e-8, atol=1e-8)
    assert 1 <= spent <= 3 * size
    assert torch.equal(b, before)


def test_conjugate_gradient_stops_where_the_matrix_is_not_positive():
    x, spent = conjugate_gradient(lambda v: -v, torch.ones(3))
    assert spent == 1
    assert not x.any()


@pytest.mark.parametrize("iterations", [1, 4, 50])
def test_residual_is_what_is_left(iterations):
    root = torch.randn(9, 9, dtype=torch.float64)
    a, b = root @ root.T + torch.eye(9), torch.randn(9, dtype=torch.float64)
    x, residual, spent = solve(lambda v: a @ v, b, iterations=iterations)
    torch.testing.assert_close(residual, b - a @ x, atol=1e-10, rtol=0)
    same, count = conjugate_gradient(lambda v: a @ v, b, iterations=iterations)
    assert torch.equal(x, same)
    assert spent == count


def test_conjugate_gradient_stops_once_the_residual_is_small_enough():
    root = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = root @ root.T + torch.eye(5), torch.arange(1.0, 6, dtype=torch.float64)
    spent = {}
    for tolerance in (1e-2, 1e-6, 1e-10, 0.0):
        _, residual, spent[tolerance] = solve(
            lambda v: a @ v, b, iterations=50, tolerance=tolerance
        )
        assert residual @ residual <= max(tolerance, 1e-28) * (b @ b)
    assert spent[1e-2] < spent[1e-6] <= spent[1e-10] <= 6 < spent[0.0]
    assert conjugate_gradient(lambda v: a @ v, b, iterations=50)[1] == spent[1e-10]  # the default


def test_a_product_that_is_not_finite_ends_it_without_a_look_too():
    b = torch.tensor([1.0, 2.0])
    found = []
    for early in (True, False):
        calls = iter([torch.tensor([2.0, 1.0])])
        product = lambda v, calls=calls: next(calls, torch.full((2,), torch.nan)) * v  # noqa: E731
        found.append(solve(product, b, iterations=4, early=early)[:2])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
        assert one.isfinite().all()
