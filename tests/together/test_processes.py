"""The same run at any number of processes."""

import numpy as np
import pytest

from tests.helpers import share

pytestmark = pytest.mark.slow

PROBLEMS = {
    "trust region": share.problem("half-cheetah-dir", normalize_observations=True),
    "fill to the horizon": share.problem("hopper-params", batch_by="steps"),
    "several steps": share.problem("navigation", **{"inner.before_weight": 0.5}),
    "E-MAML": share.problem("navigation", "e-maml"),
    "E-MAML, two copies": share.problem(
        "navigation", "e-maml", tasks=6, **{"algorithm_settings.task_copies": 2}
    ),
    "ProMP": share.problem("navigation", "promp"),
    "Alpha-MAML": share.problem("navigation", "alpha-maml"),
    "MAML++": share.problem("navigation", "maml++"),
    "Reptile": share.problem("sinusoid", "reptile"),
    "Bayesian MAML": share.problem("sinusoid", "bayesian-maml"),
    "examples": share.problem("sinusoid"),
}


@pytest.fixture(scope="module")
def found():
    """What each problem comes to in one process, in two and in three."""
    return {
        count: [dict(zip(PROBLEMS, every, strict=True)) for every in share.run(count, everything)]
        for count in (1, 2, 3)
    }


def everything():
    return [share.one_update(config) for config in PROBLEMS.values()]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_first_iteration_is_the_same(found, name, count):
    alone, alone_after, alone_metrics = found[1][0][name]
    shares = [each[name] for each in found[count]]
    for whole, *parts in zip(alone, *(leaves for leaves, *_ in shares), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)  # to the bit
    for _, after, metrics in shares:
        np.testing.assert_allclose(after, alone_after, rtol=1e-10, atol=1e-10)
        assert metrics.keys() == alone_metrics.keys()
        for key, value in alone_metrics.items():
            if isinstance(value, str | None):
                assert metrics[key] == value, key
            else:
                np.testing.assert_allclose(metrics[key], value, rtol=1e-6, atol=1e-9, err_msg=key)
