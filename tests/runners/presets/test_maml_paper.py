"""The MAML paper's settings and its table of results."""

import gymnasium
import numpy as np
import pytest

from rlmaml.rng import generator
from runners.presets import PRESETS, maml_paper
from runners.presets.maml_paper import OURS, ROWS


def env_steps(config):
    """Time steps that a whole run takes in its environments."""
    episodes = config.iterations * config.tasks * config.episodes * (1 + config.inner.steps)
    return episodes * config.horizon


def test_the_authors_tasks():
    rows = maml_paper.ROWS
    goals = rows["paper-half-cheetah-vel"].tasks()
    np.testing.assert_allclose(goals[:2, 0], [0.83404401, 1.44064899])
    directions = rows["paper-half-cheetah-dir"].tasks()
    assert directions[:2].tolist() == [1, 0]  # .83 of 2: backward; 1.44: forward
    assert directions.sum() == 22
    assert rows["paper-ant-dir"].tasks().sum() == 25
    for name, row in rows.items():
        config = PRESETS[name][1]
        per_step = {"paper-ant-dir": 8000}.get(name, 4000)
        assert row.episodes * config.horizon == per_step


@pytest.mark.parametrize(
    ("name", "size", "iterations", "million", "kl", "alpha"),
    [
        ("paper-point", (20, 20, 100), 100, 8, 0.01, 0.5),
        ("paper-half-cheetah-vel", (40, 10, 200), 475, 76, 0.01, 0.1),
        ("paper-half-cheetah-dir", (40, 20, 200), 100, 32, 0.02, 0.1),
        ("paper-ant-vel", (40, 20, 200), 375, 120, 0.01, 0.1),
        ("paper-ant-dir", (40, 40, 200), 575, 368, 0.01, 0.1),
    ],
)
def test_the_authors_settings(name, size, iterations, million, kl, alpha):
    config = PRESETS[name][1]
    assert (config.tasks, config.episodes, config.horizon) == size
    assert config.iterations == iterations
    assert 2 * np.prod(size) * iterations == million * 1e6
    assert config.trust_region.max_kl == kl
    region = config.trust_region
    assert (region.cg_iterations, region.damping) == (10, 1e-5)
    assert (region.backtracks, region.backtrack_ratio) == (15, 0.8)
    assert (config.inner.steps, config.inner.step_size) == (1, alpha)
    assert config.inner.surrogate == "log-likelihood"
    for advantages in (config.inner_advantages, config.outer_advantages):
        assert (advantages.discount, advantages.gae_lambda) == (0.99, 1.0)
        assert advantages.normalize
    assert (config.policy.hidden, config.policy.activation) == ((100, 100), "relu")
    assert (config.policy.init_log_std, config.policy.output_gain) == (0.0, 1.0)
    ends_early = name in ("paper-point", "paper-ant-vel", "paper-ant-dir")
    assert config.batch_by == ("steps" if ends_early else "episodes")


@pytest.mark.parametrize("name", ROWS)
def test_each_row_has_scores_of_as_many_steps_as_its_figure(name):
    """And adapting helps, the oracle is above it, and pretraining below."""
    row = ROWS[name]
    assert len(row.maml) == (5 if name == "paper-point" else 4)
    assert row.maml[1] > row.maml[0]
    assert max(row.maml) < row.oracle
    if row.pretrained is not None:
        assert len(row.pretrained) == 2
        assert row.pretrained[1] < row.maml[1]


@pytest.mark.parametrize("name", ROWS)
def test_the_authors_tasks_are_tasks_of_the_environment(name):
    config = PRESETS[name].config
    env = gymnasium.make(config.env.id, **config.env.kwargs).unwrapped
    tasks = ROWS[name].tasks()
    drawn = env.sample_tasks(40, generator(0))
    assert tasks.shape == drawn.shape
    assert tasks.dtype.kind == drawn.dtype.kind
    assert all(env.task_space.contains(task) for task in tasks.astype(env.task_space.dtype))
    assert len(np.unique(tasks, axis=0)) == (2 if tasks.ndim == 1 else 40)


@pytest.mark.parametrize("name", ROWS)
def test_training_and_the_authors_evaluation_take_the_same_first_step(name):
    sizes = ROWS[name].sizes
    assert set(sizes) == {"maml", "pretrained", "random"}
    assert sizes["maml"] == PRESETS[name].config.inner.step_size


OURS_AND_THEIRS = [
    (name, name.removesuffix(OURS)) for name in maml_paper.PRESETS if name.endswith(OURS)
]


@pytest.mark.parametrize(("ours", "theirs"), OURS_AND_THEIRS)
def test_our_settings_are_in_the_papers_environments_and_budgets(ours, theirs):
    own, papers = PRESETS[ours].config, PRESETS[theirs].config
    assert own.env.id == papers.env.id
    assert own.horizon == papers.horizon
    assert own.batch_by == papers.batch_by
    assert own.policy.hidden == papers.policy.hidden
    assert own.inner.steps == papers.inner.steps
    assert env_steps(own) <= env_steps(papers)


def test_every_robot_has_our_settings_beside_the_papers():
    robots = {name for name in ROWS if name != "paper-point"}
    assert {theirs for _, theirs in OURS_AND_THEIRS} == robots
    assert set(maml_paper.PRESETS) == set(ROWS) | {ours for ours, _ in OURS_AND_THEIRS}


def test_fewer_and_larger_updates_cost_the_papers_time_steps():
    ours, theirs = (PRESETS["paper-half-cheetah-vel" + end].config for end in (OURS, ""))
    assert ours.iterations < 0.51 * theirs.iterations
    assert env_steps(ours) > 0.99 * env_steps(theirs)


def test_ragged_batches_are_where_episodes_end_early():
    """Ants fall and points arrive; half-cheetahs run to the time limit."""
    for name, (_, config) in maml_paper.PRESETS.items():
        assert config.batch_by == ("episodes" if "cheetah" in name else "steps"), name
