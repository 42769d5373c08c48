"""`rlmaml.load`: what was meta-trained, adapted to a task in Python."""

import copy
import json
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
import torch

import rlmaml
from rlmaml import models
from rlmaml.checkpoint import CheckpointError
from rlmaml.inner import adapt
from rlmaml.objective import over_tasks
from rlmaml.rng import Phase, generator
from runners.command_line import cli
from runners.environments import build_experiment
from runners.run_dir import RunDir
from tests.helpers.runs import TINY, evaluated, tiny
from tests.helpers.vector_envs import batched

pytestmark = pytest.mark.slow

GOAL = np.array([1.5])


def cheetah(horizon=6, goal=GOAL):
    env = gymnasium.make("envs:rlmaml/HalfCheetahVel-v0", frame_skip=1, max_episode_steps=horizon)
    env.unwrapped.set_task(goal)
    return env


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("runs") / "vel", "--inner.steps", "2")


def test_adapting_is_what_the_evaluation_does(run):
    """The single environment, copied, gives to the bit what the batched one gave."""
    result = evaluated(run, tasks=1, episodes=3, steps=2)
    task = result["per_task"][0]
    policy = rlmaml.load(run.path).adapt(cheetah(goal=np.array(task["task"])), episodes=3)
    assert [e.rewards.sum(-1).mean().item() for e in policy.episodes] == task["return"][:2]
    assert len(policy.episodes) == 2


def test_adapting_to_batches_counted_in_time_steps_is_what_the_evaluation_does(tmp_path):
    run = tiny(tmp_path / "ant", "--horizon", "200", "--iterations", 1, preset="paper-ant-vel")
    goal = np.array([[1.5]])
    result = evaluated(run, tasks=goal, episodes=8, steps=1)
    env = gymnasium.make("envs:rlmaml/PaperAntVel-v0")
    env.unwrapped.set_task(goal[0])
    (sampled,) = rlmaml.load(run.path).adapt(env, episodes=8).episodes
    there = sampled.mask.amax(-1) > 0
    assert there.sum() > 8  # some fell: of so few as three there were machines where none did
    assert sampled.mask.sum() >= 8 * 200
    returns = sampled.rewards.sum(-1)[there]
    assert returns.mean().item() == pytest.approx(result["per_task"][0]["return"][0], rel=1e-6)


def test_a_vector_environment_gives_the_same(run):
    learner = rlmaml.load(run.path)
    together = batched("HalfCheetahVel-v0", 3, 6)
    together.set_tasks(np.stack([GOAL] * 3))
    one, other = learner.adapt(cheetah(), episodes=3), learner.adapt(together)
    assert all(torch.equal(one.params[name], other.params[name]) for name in one.params)
    together.set_tasks([[0.5], [1.0], [1.0]])
    with pytest.raises(ValueError, match="several tasks"):
        learner.adapt(together)
    several = rlmaml.vectorize(cheetah, 3)
    several.set_tasks(np.array([[0.5], [1.0], [1.0]]))
    with pytest.raises(ValueError, match="several tasks"):
        learner.adapt(several)


def test_what_may_differ_from_training(run):
    learner = rlmaml.load(run.path)
    unadapted = learner.adapt(cheetah(), steps=0)
    assert all(
        torch.equal(value, learner.meta["params"][name]) for name, value in unadapted.params.items()
    )
    small, large = (learner.adapt(cheetah(), steps=1, step_size=size).params for size in (0.1, 0.2))
    for name, theta in learner.meta["params"].items():
        torch.testing.assert_close(large[name] - theta, 2 * (small[name] - theta))
    others = learner.adapt(cheetah(), steps=1, step_size=0.1, seed=1).params
    assert not torch.equal(others["mean.0.weight"], small["mean.0.weight"])


def test_further_steps_than_those_of_training_may_be_shorter(tmp_path):
    words = ("--inner.step-size", "0.1", "--inner.later-step-share", "0.1")
    folder = tiny(tmp_path / "run", *words)
    learner = rlmaml.load(folder.path)

    def moved(**settings):
        paths = [learner.adapt(cheetah(), steps=k, **settings).params for k in range(3)]
        return [
            torch.cat([(b[name] - a[name]).flatten() for name in a]).norm().item()
            for a, b in pairwise(paths)
        ]

    first, second = moved()
    assert second < 0.5 * first
    longer = moved(step_size=0.2)
    assert longer[0] == pytest.approx(2 * first, rel=1e-3)
    result = evaluated(folder, tasks=1, episodes=3, steps=2)
    task = result["per_task"][0]
    policy = learner.adapt(cheetah(goal=np.array(task["task"])), steps=3)
    assert [e.rewards.sum(-1).mean().item() for e in policy.episodes] == task["return"]
    assert result["later_step_size"] == pytest.approx(0.01)
    assert evaluated(folder, tasks=1, later_step_share=1.0)["later_step_size"] is None


def test_copies_are_closed_and_what_was_given_is_not(run):
    closed = []

    class Noted(gymnasium.Wrapper):
        def __init__(self, env):
            super().__init__(env)
            self.name = "given"

        def __deepcopy__(self, memo):
            other = Noted(copy.deepcopy(self.env, memo))
            other.name = "copy"
            return other

        def close(self):
            closed.append(self.name)
            super().close()

    env = Noted(cheetah())
    rlmaml.load(run.path).adapt(env, episodes=4)
    assert closed == ["copy"] * 4
    env.reset(seed=0)


def test_acting(run):
    env = cheetah()
    policy = rlmaml.load(run.path).adapt(env)
    first, _ = env.reset(seed=0)
    action = policy.act(first)
    assert action in env.action_space
    assert not np.array_equal(action, policy.act(first))  # drawn
    mean = policy.act(first, deterministic=True)
    expected = policy.module(torch.from_numpy(first[None]).float()).mean[0].clamp(-1, 1)
    np.testing.assert_array_equal(mean, expected)
    several, state = policy.predict(np.stack([first, first]), deterministic=True)
    assert several.shape == (2, 6)
    assert state is None
    np.testing.assert_allclose(several[1], mean, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match=r"observes \(17,\)"):
        policy.act(np.zeros(16))


def test_observation_statistics_come_along(tmp_path):
    folder = tiny(tmp_path / "run", "--normalize-observations", "True")
    result = evaluated(folder, tasks=1, episodes=3, steps=1)
    task = result["per_task"][0]
    policy = rlmaml.load(folder.path).adapt(cheetah(goal=np.array(task["task"])), steps=2)
    assert [e.rewards.sum(-1).mean().item() for e in policy.episodes] == task["return"]
    assert policy.normalizer is not None
    first, _ = cheetah().reset(seed=0)
    seen = policy.normalizer(torch.from_numpy(first[None]).float())
    expected = policy.module(seen).mean[0].clamp(-1, 1)
    np.testing.assert_array_equal(policy.act(first, deterministic=True), expected)


def test_tables_have_integers_for_observations_and_actions(tmp_path):
    kwargs = {"num_states": 3, "num_actions": 2}
    folder = tiny(tmp_path / "run", "--env.kwargs", json.dumps(kwargs), preset="tabular")
    env = gymnasium.make("envs:rlmaml/TabularMDP-v0", **kwargs)
    env.unwrapped.set_task(env.unwrapped.sample_tasks(1, generator(0))[0])
    policy = rlmaml.load(folder.path).adapt(env)
    assert policy.act(1) in env.action_space
    assert policy.predict(np.array([0, 2, 1]))[0].shape == (3,)
    many = policy.predict(np.full(4000, 2))[0]
    share = policy.distribution(np.array([2])).logits.softmax(-1)[0, 1].item()
    assert abs(many.mean() - share) < 4 * np.sqrt(share * (1 - share) / 4000)


def test_an_environment_without_a_readable_task_is_copied_with_it(tmp_path):
    from tests.helpers.pendulum import GoalPendulum

    out = tmp_path / "run"
    words = ("--env.id", "tests.helpers.pendulum:GoalPendulum-v0", "--env.kwargs", "{}")
    cli.main(["train", "navigation", "--out", str(out), *TINY, *words])
    learner = rlmaml.load(out)
    returns = []
    for goal in (0.0, 1.0):
        env = GoalPendulum()
        env.set_task(np.array([goal]))
        returns.append(learner.adapt(env, steps=1).episodes[0].rewards.sum().item())
    assert returns[0] != returns[1]
    with pytest.raises(ValueError, match="other spaces"):
        learner.adapt(cheetah())


def test_refusals(run, tmp_path):
    learner = rlmaml.load(run.path)
    with pytest.raises(ValueError, match="learned from episodes"):
        learner.adapt(np.zeros((2, 1)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        learner.adapt(cheetah(), episodes=0)
    with pytest.raises(FloatingPointError, match="not finite"):
        learner.adapt(cheetah(), steps=3, step_size=1e30)
    with pytest.raises(ValueError, match="step_size must be at most"):
        learner.adapt(cheetah(), steps=1, step_size=1e39)
    with pytest.raises(CheckpointError, match="is no run and no checkpoint"):
        rlmaml.load(tmp_path)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        rlmaml.load(run.path, checkpoint=tmp_path / "000009")


EXAMPLES = ("--tasks", 3, "--iterations", 2, "--checkpoint-every", 1, "--threads", 1)
EXAMPLES += ("--validation-tasks", 0)


def supervised(out, preset, *more):
    words = ["train", preset, "--out", out, *EXAMPLES, "--examples.shots", 3, *more]
    cli.main([str(word) for word in words])
    return RunDir(out)


@pytest.mark.parametrize("preset", ["sinusoid", "linear-classification", "digits"])
def test_predictors_are_the_adapted_models(tmp_path, preset):
    folder = supervised(tmp_path / "run", preset)
    config = folder.read_config()
    experiment = build_experiment(config, tasks=2)
    tasks = experiment.sample_tasks(2, generator(1), split="test")
    key = (0, 0, Phase.EVALUATION_ROLLOUT)
    support, query = (experiment.sampler({}, tasks, key, role) for role in ("support", "query"))
    learner = rlmaml.load(folder.path)

    def path(data):
        sets = (data,) * config.inner.steps
        return adapt(experiment.algorithm.inner, learner.meta, sets)[-1]

    expected = over_tasks(path)(support)
    for i in range(2):
        predictor = learner.adapt(support.inputs[i].numpy(), support.targets[i].numpy())
        for name, value in models.parameters(predictor.module).items():
            torch.testing.assert_close(value, expected[name][i], rtol=1e-4, atol=1e-5)
        answers = predictor(query.inputs[i].numpy())
        assert answers.shape == query.targets[i].shape
        distribution = predictor.distribution(query.inputs[i].numpy())
        np.testing.assert_array_equal(answers, distribution.mode())


def test_a_classifier_with_the_supports_batch_norm_sees_no_other_query(tmp_path):
    folder = supervised(tmp_path / "run", "digits", "--conv.batch-norm", "support")
    experiment = build_experiment(folder.read_config(), tasks=1)
    tasks = experiment.sample_tasks(1, generator(1), split="test")
    support = experiment.sampler({}, tasks, (0, 0, 0), "support")
    x, y = support.inputs[0].numpy(), support.targets[0].numpy()
    predictor = rlmaml.load(folder.path).adapt(x, y)
    alone = predictor.distribution(x[:1]).logits
    torch.testing.assert_close(alone, predictor.distribution(x).logits[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["bag", "transformer"])
def test_texts_are_adapted_to(tmp_path, text_table, model):
    kwargs = {"root": str(text_table), "way": 3, "length": 10}
    options = ("--env.kwargs", json.dumps(kwargs), "--text.model", model, "--text.dimension", 8)
    folder = supervised(tmp_path / "run", "text", *options)
    family = gymnasium.make("rlmaml/Text-v0", **kwargs).unwrapped.examples
    learner = rlmaml.load(folder.path)
    x, y = family.encode(["own1 filler1", "own2", "own3 own4"]), np.array([0, 1, 2])
    predictor = learner.adapt(x, y, steps=3)
    assert predictor(family.encode(["own1", ""])).shape == (2,)
    unadapted = learner.adapt(x, y, steps=0).distribution(x).log_prob(torch.from_numpy(y))
    assert (predictor.distribution(x).log_prob(torch.from_numpy(y)) > unadapted).any()
    with pytest.raises(ValueError, match=r"integers from 0 to .* got float64"):
        learner.adapt(x.astype(float), y)
    with pytest.raises(ValueError, match="encode"):
        predictor(x + 1000)
    with pytest.raises(ValueError, match="integers from 0"):
        predictor(x - 1)


def test_bad_examples_are_refused(tmp_path):
    learner = rlmaml.load(supervised(tmp_path / "run", "linear-classification").path)
    x = np.zeros((4, 2))
    with pytest.raises(ValueError, match="from 0 to 1"):
        learner.adapt(x, np.array([0, 1, 2, 0]))
    with pytest.raises(ValueError, match="4 inputs and 3 targets"):
        learner.adapt(x, np.array([0, 1, 0]))
    with pytest.raises(ValueError, match="other spaces"):
        learner.adapt(np.zeros((4, 3)), np.array([0, 1, 1, 0]))
    with pytest.raises(ValueError, match="learned from examples"):
        learner.adapt(cheetah())


def particles(tmp_path, preset, *options):
    """Train by Bayesian MAML, which adapts several networks at once."""
    shared = ("--algorithm", "bayesian-maml", "--iterations", "1", "--quiet")
    cli.main(["train", preset, "--out", str(tmp_path / "run"), *shared, *options])


@pytest.mark.parametrize(
    ("preset", "x", "y"),
    [
        ("sinusoid", np.linspace(-5, 5, 10)[:, None], np.sin(np.linspace(-5, 5, 10))[:, None]),
        ("linear-classification", np.eye(4, 2), np.array([0, 1, 0, 1])),
    ],
)
@pytest.mark.parametrize("loss", ["query", "chaser"])
def test_several_networks_adapt_to_examples(tmp_path, preset, x, y, loss):
    particles(
        tmp_path, preset, "--algorithm-settings.loss", loss, "--algorithm-settings.particles", "3"
    )
    predictor = rlmaml.load(tmp_path / "run").adapt(x, y, steps=2)
    assert predictor.predict(x).shape == y.shape
    assert len(next(iter(predictor.module.adapted.values()))) == 3


def test_several_networks_adapt_to_an_environment(tmp_path):
    options = (
        "--algorithm-settings.particles",
        "3",
        "--episodes",
        "6",
        "--horizon",
        "5",
        "--tasks",
        "2",
    )
    particles(tmp_path, "navigation", *options, "--trust-region.fisher-fraction", "0.5")
    env = gymnasium.make("envs:rlmaml/Navigation2D-v0")
    env.unwrapped.set_task(np.array([0.2, 0.3]))
    policy = rlmaml.load(tmp_path / "run").adapt(env, steps=2)
    action = policy.act(env.reset(seed=0)[0])
    assert env.action_space.contains(action)
    with pytest.raises(ValueError, match="particles, 3; got 4"):
        rlmaml.load(tmp_path / "run").adapt(env, episodes=4)
