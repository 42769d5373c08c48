"""The linear baseline: against least squares, and cross-fitted against fits to the other folds."""

import numpy as np
import pytest
import torch

from rlmaml import value_baseline


def test_baseline_against_lstsq():
    rng = np.random.default_rng(0)
    observations = torch.from_numpy(rng.standard_normal((6, 50, 4)) * 4)
    mask = (torch.arange(50) < torch.tensor([[50], [50], [31], [50], [7], [50]])).double()
    returns = torch.from_numpy(rng.standard_normal((6, 50)))
    features = value_baseline.features(observations, torch.arange(50))
    fitted = value_baseline.fit(features, returns, mask, ridge=1e-12)
    rows = mask.bool()
    clipped = observations.clamp(-10, 10)[rows].numpy()
    t = (np.broadcast_to(np.arange(50), (6, 50))[rows.numpy()] / 100)[:, None]
    x = np.hstack([clipped, clipped**2, t, t**2, t**3, np.ones_like(t)])
    expected = np.linalg.lstsq(x, returns[rows].numpy(), rcond=None)[0]
    predicted = value_baseline.predict(fitted, features)[rows].numpy()
    np.testing.assert_allclose(predicted, x @ expected, atol=1e-6)


def test_observations_of_many_numbers_go_without_their_squares():
    few, many = value_baseline.SQUARED, value_baseline.SQUARED + 1
    for size, squares in ((few, few), (many, 0)):
        observations = 4 * torch.randn(2, 3, size)
        features = value_baseline.features(observations, torch.arange(3))
        assert features.shape == (2, 3, size + squares + 4)
        clipped = observations.double().clamp(-10, 10)
        torch.testing.assert_close(features[..., :size], clipped)
        torch.testing.assert_close(features[..., size:-4], clipped[..., :squares] ** 2)
        assert (features[..., -1] == 1).all()


@pytest.mark.parametrize(("episodes", "folds"), [(7, 5), (10, 5), (3, 3), (4, 2)])
def test_cross_fitted_baseline_is_the_one_fitted_on_the_other_folds(episodes, folds):
    torch.manual_seed(0)
    features = torch.randn(episodes, 6, 3, dtype=torch.float64)
    returns, mask = torch.randn(episodes, 6), (torch.rand(episodes, 6) > 0.2).float()
    fitted = value_baseline.cross_fit(features, returns, mask, folds=folds, ridge=0.5)
    predicted = value_baseline.predict(fitted, features)
    clipped = False
    for i in range(episodes):
        others = [j for j in range(episodes) if j % folds != i % folds]
        alone = value_baseline.fit(features[others], returns[others], mask[others], ridge=0.5)
        torch.testing.assert_close(fitted.weights[i], alone.weights)
        seen = returns[others][mask[others] > 0].double()
        expected = value_baseline.predict(alone, features[i : i + 1])[0]
        clipped |= bool(((expected < seen.min()) | (expected > seen.max())).any())
        torch.testing.assert_close(predicted[i], expected.clamp(seen.min(), seen.max()))
    assert clipped or episodes > 4


def test_cross_fitting_one_episode_is_refused():
    one = torch.randn(1, 6, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="two episodes"):
        value_baseline.cross_fit(one, torch.randn(1, 6), torch.ones(1, 6))


def test_a_cross_fitted_baseline_is_held_back_by_a_ridge_that_counts():
    """Features that are rare and large, as forces of contacts are: without it they extrapolate."""
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(20, 30, 40, generator=rng, dtype=torch.float64)
    features[..., 5:] *= 10 * (torch.rand(20, 30, 35, generator=rng) < 0.01)
    returns = features[..., 0] + torch.randn(20, 30, generator=rng)
    mask = torch.ones(20, 30)

    def off(**settings):
        fitted = value_baseline.cross_fit(features, returns, mask, **settings)
        return fitted, (returns - value_baseline.predict(fitted, features)).var().item()

    found, error = off()
    held, same = off(ridge=10.0)
    assert torch.equal(found.weights, held.weights)
    assert error == same
    assert error < 0.98 * off(ridge=1e-5)[1]
