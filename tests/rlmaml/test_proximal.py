"""Steps to the minimizer of a proximal problem; iMAML by them is in algorithms/test_imaml.py."""

import torch

from rlmaml import proximal


def test_one_gauss_newton_step_solves_what_is_linear_in_the_parameters():
    """Linear regression: φ* = (XᵀX 2/B + λ)⁻¹ (Xᵀy 2/B + λ θ)."""
    x, y, theta = (torch.randn(*shape, dtype=torch.float64) for shape in ((6, 3), (6,), (3,)))
    found = proximal.gauss_newton_step(
        lambda w: (x @ w,), lambda out: (out - y).square().mean(), theta, theta, 0.5, 3
    )
    matrix = x.T @ x / 3 + 0.5 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, x.T @ y / 3 + 0.5 * theta))
    left = proximal.residual(lambda w: (x @ w - y).square().mean(), found, theta, 0.5)
    assert left < 1e-12
    assert proximal.residual(lambda w: (x @ w - y).square().mean(), theta, theta, 0.5) == 1
    assert proximal.residual(lambda w: 0 * w.sum(), theta, theta, 0.5) == 0


def test_a_step_that_would_go_uphill_is_shortened_or_not_taken():
    def outputs(w):
        return (torch.atan(w),)  # whose Newton step from 2 leads far beyond the other side

    found = proximal.gauss_newton_step(
        outputs, lambda out: out.square().sum(), torch.tensor([2.0]), torch.zeros(1), 0.0, 5
    )
    assert 0 < found.abs() < 2
    stays = proximal.gauss_newton_step(
        outputs, lambda out: out.square().sum(), torch.zeros(1), torch.zeros(1), 0.0, 5
    )
    assert stays == 0
