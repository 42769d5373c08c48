"""The inner loop: against its closed form on quadratics."""

import pytest
import torch

from rlmaml.errors import ConfigError
from rlmaml.inner import adapt, gradient_descent, with_later_steps
from rlmaml.objective import over_tasks
from tests.helpers.problems import one, quadratic_loss, quadratics, random_batch

ALPHA = 0.3


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_adapt_against_the_closed_form(steps):
    tasks = quadratics(4, 5)
    meta = {"params": {"x": torch.randn(5, dtype=torch.float64)}}
    inner = gradient_descent(quadratic_loss, ALPHA)
    path = over_tasks(lambda task: adapt(inner, meta, (task,) * steps))(tasks)
    assert len(path) == steps + 1
    contraction = torch.eye(5, dtype=torch.float64) - ALPHA * tasks.curvature
    for k, params in enumerate(path):
        power = torch.linalg.matrix_power(contraction, k)
        start = (meta["params"]["x"] - tasks.center).unsqueeze(-1)
        torch.testing.assert_close(params["x"], tasks.center + (power @ start).squeeze(-1))


@pytest.mark.parametrize(("share", "trained"), [(0.25, 1), (3.0, 2)])
def test_later_steps_go_a_share_of_their_way(share, trained):
    task = one(quadratics(1, 5), 0)
    x = torch.randn(5, dtype=torch.float64)
    inner = with_later_steps(gradient_descent(quadratic_loss, ALPHA), share, trained)
    *_, end = adapt(inner, {"params": {"x": x}}, (task,) * 3)
    for k in range(3):
        size = ALPHA if k < trained else share * ALPHA
        x = x - size * task.curvature @ (x - task.center)
    torch.testing.assert_close(end["x"], x)
    with pytest.raises(ConfigError, match=r"later inner steps must be positive, got 0\.0"):
        with_later_steps(inner, 0.0)


def test_stacked_tasks_equal_one_task_at_a_time_and_n_does_not_change_a_step():
    objective, meta, batch = random_batch(2, tasks=4)
    stacked = over_tasks(lambda data: adapt(objective.inner, meta, data))(batch.support)
    for i in range(4):
        alone = adapt(objective.inner, meta, one(batch.support, i))
        for ours, theirs in zip(alone, one(stacked, i), strict=True):
            torch.testing.assert_close(ours, theirs)
