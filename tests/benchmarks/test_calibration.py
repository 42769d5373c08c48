"""Figures of calibration, of predictions whose errors are known."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.calibration import Predictions, calibration, fitted


def predictions(seed, knows, n=400):
    """Errors of variance 0.2² + 3 s², where s² is told to whoever knows."""
    rng = np.random.default_rng(seed)
    spread = rng.exponential(0.5, (n, 20))
    error = rng.normal(size=(n, 20)) * np.sqrt(0.04 + 3 * spread)
    mean = rng.normal(size=(n, 20))
    return Predictions(mean, spread if knows else np.zeros_like(spread), mean + error)


def test_the_variance_is_found_again():
    sigma, kappa = fitted(predictions(0, knows=True))
    assert sigma == pytest.approx(0.2, abs=0.03)
    assert kappa == pytest.approx(3, rel=0.05)
    known = predictions(0, knows=False)
    sigma, kappa = fitted(known)
    assert kappa == 0
    assert sigma == pytest.approx(np.sqrt(np.mean((known.targets - known.mean) ** 2)), rel=1e-3)


def test_who_knows_his_errors_is_likelier_and_right_where_he_is_sure_and_where_not():
    found = {
        knows: calibration(predictions(0, knows), predictions(1, knows)) for knows in (True, False)
    }
    assert found[True]["rmse"] == found[False]["rmse"]
    assert found[True]["nll"] < found[False]["nll"] - 0.1
    for name in ("coverage", "coverage, narrowest tenth", "coverage, widest tenth"):
        assert found[True][name] == pytest.approx(0.9, abs=0.03)


def test_the_likelihood_is_that_of_a_gaussian():
    known = predictions(2, knows=True)
    variance = 0.3**2 + 2 * known.disagreement
    expected = -stats.norm.logpdf(known.targets, known.mean, np.sqrt(variance))
    np.testing.assert_allclose(known.nll(0.3, 2.0), expected)
