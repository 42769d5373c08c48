"""Meta-World's example, with a stand-in for Meta-World, and with itself where it is installed."""

import copy
import importlib.util
import json
import pickle
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import gymnasium
import mujoco
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper

import rlmaml
from rlmaml.errors import ConfigError
from tests.helpers.runs import tiny

ROOT = Path(__file__).parents[2]
HORIZON, LIMIT, EPISODES = 4, 6, 3


class Task(NamedTuple):
    """What Meta-World calls a task."""

    env_name: str
    data: bytes


class Timestep(NamedTuple):
    """What Meta-World's loop hands over of a step."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    aux_policy_outputs: dict[str, np.ndarray]


class Near(gymnasium.Env):
    """A point that is paid for being near its goal, as Meta-World's environments are made."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    sign, goal = 1.0, None

    def __init__(self, render_mode=None):
        self.render_mode, self.closed = render_mode, False

    def set_task(self, task):
        data = pickle.loads(task.data)
        assert isinstance(self, data["env_cls"])
        self.goal = data["rand_vec"]

    def reset(self, *, seed=None, options=None):
        self.x, self.time = np.zeros(2), 0
        return self.x.copy(), {}

    def step(self, action):
        self.x, self.time = self.x + 0.1 * action, self.time + 1
        distance = float(np.linalg.norm(self.x - self.goal))
        info = {"success": float(distance < 0.3)}
        return self.x.copy(), -self.sign * distance, False, self.time == LIMIT, info

    def close(self):
        self.closed = True


class Far(Near):
    """One that is paid for being far from it."""

    sign = -1.0


def benchmark_of(*kinds, seed=0):
    """A benchmark of Meta-World's shape: four training goals and two test goals of each kind."""
    rng = np.random.default_rng(seed)

    def tasks(count):
        goals = [(kind, rng.uniform(-1, 1, 2)) for kind in kinds for _ in range(count)]
        return [
            Task(kind.__name__, pickle.dumps({"env_cls": kind, "rand_vec": goal}))
            for kind, goal in goals
        ]

    classes = {kind.__name__: kind for kind in kinds}
    members = {"train_classes": classes, "test_classes": classes}
    return SimpleNamespace(**members, train_tasks=tasks(4), test_tasks=tasks(2))


def made_for_tests(name, *, seed, meta_batch_size, max_episode_steps):
    """Environments that have the test tasks, one each."""
    tasks = STAND_IN.ML10(seed=seed).test_tasks[:meta_batch_size]
    assert (name, len(tasks), max_episode_steps) == ("ML10", meta_batch_size, None)
    return vector_of([(pickle.loads(task.data)["env_cls"], task) for task in tasks])


def vector_of(kinds_and_tasks):
    def make(kind, task):
        env = kind()
        env.set_task(task)
        return env

    makers = [partial(make, *each) for each in kinds_and_tasks]
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)


def protocol(agent, envs, *, num_evals, adaptation_steps, adaptation_episodes, evaluation_episodes):
    """Meta-World's order of calls: episodes to learn from, a step, and episodes that count."""
    agent.init()
    for _ in range(adaptation_steps):
        observations, _ = envs.reset()
        for _ in range(adaptation_episodes * LIMIT):
            actions, outputs = agent.adapt_action(observations)
            following, *rest, _ = envs.step(actions)
            agent.step(Timestep(observations, actions, *rest, outputs))
            observations = following
        agent.adapt()
    observations, _ = envs.reset()
    agent.reset(np.ones(envs.num_envs, bool))
    total = 0.0
    for _ in range(evaluation_episodes * LIMIT):
        observations, rewards, *_ = envs.step(agent.eval_action(observations))
        total += rewards.mean() / evaluation_episodes
    return float(num_evals), total, {"Near": np.float64(adaptation_steps)}


STAND_IN = ModuleType("metaworld")
STAND_IN.__dict__.update(
    ML1=type("ML1", (), {"ENV_NAMES": ["Near"], "__new__": lambda cls, name, seed: name}),
    ML10=lambda seed: benchmark_of(Near, Far, seed=seed),
    ML25=None,
    ML45=None,
    make_ml_envs_test=made_for_tests,
)


def imported(patch, modules):
    """The example, made anew with these modules in place of those of their names.

    What it registers stays until `patch` is undone.
    """
    spec = importlib.util.spec_from_file_location("the_example", ROOT / "examples/meta_world.py")
    module = importlib.util.module_from_spec(spec)
    patch.setitem(gymnasium.registry, "MetaWorld-v0", None)
    gymnasium.registry.pop("MetaWorld-v0")
    with pytest.MonkeyPatch.context() as while_imported:
        for name, each in modules.items():
            while_imported.setitem(sys.modules, name, each)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example():
    """The example with the stand-in."""
    evaluation, base = ModuleType("metaworld.evaluation"), ModuleType("metaworld.sawyer_xyz_env")
    evaluation.metalearning_evaluation = protocol
    base.SawyerMocapBase = type("SawyerMocapBase", (), {})
    STAND_IN.evaluation = evaluation
    modules = {each.__name__: each for each in (STAND_IN, evaluation, base)}
    with pytest.MonkeyPatch.context() as patch:
        yield imported(patch, modules)


@pytest.fixture(scope="module")
def run(example, tmp_path_factory):
    """A run of two inner steps on both kinds, with standardized observations."""
    out = tmp_path_factory.mktemp("run") / "run"
    words = ["--env.id", "MetaWorld-v0", "--env.kwargs", '{"name": "ML10"}', "--quiet"]
    words += ["--normalize-observations", "True", "--inner.steps", "2", "--iterations", "2"]
    tiny(out, *words, "--horizon", str(HORIZON), "--checkpoint-every", "1")
    return out


class Recording(VectorWrapper):
    """Keeps what was seen and earned, [T, B, ...] of each rollout."""

    def __init__(self, env):
        super().__init__(env)
        self.seen, self.rewards = [], []

    def reset(self, **kwargs):
        observations, info = self.env.reset(**kwargs)
        self.seen.append([observations])
        self.rewards.append([])
        return observations, info

    def step(self, actions):
        observations, rewards, *rest = self.env.step(actions)
        self.seen[-1].append(observations)
        self.rewards[-1].append(rewards)
        return observations, rewards, *rest


def test_without_meta_world_it_says_what_to_install(monkeypatch):
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps metaworld==3\.1\.1"):
        imported(monkeypatch, {"metaworld": None})


def test_welds_are_meta_worlds_and_the_rest_stays(example):
    bodies = "<body name='a' mocap='{}'/><body name='b'><freejoint/><geom size='.1'/></body>"
    constraints = (
        "<connect body1='b' body2='a' anchor='1 2 3'/><weld body1='a' body2='b' torquescale='3'/>"
    )
    for mocap in ("true", "false"):
        model = mujoco.MjModel.from_xml_string(
            f"<mujoco><worldbody>{bodies.format(mocap)}</worldbody>"
            f"<equality>{constraints}</equality></mujoco>"
        )
        before = model.eq_data.copy()
        example.SawyerMocapBase.reset_mocap_welds(SimpleNamespace(model=model))
        np.testing.assert_array_equal(model.eq_data[0], before[0])
        assert model.eq_data.shape == (2, 12)
        changed = [0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5, before[1, 11]]
        np.testing.assert_array_equal(model.eq_data[1], changed if mocap == "true" else before[1])


def test_kinds_take_turns_and_splits_differ(example):
    env = example.MetaWorld("ML10")
    rng = np.random.default_rng(0)
    names = [task.env_name for task in env.sample_tasks(6, rng)]
    assert names == ["Near", "Far"] * 3
    drawn = {task.env_name for _ in range(20) for task in env.sample_tasks(1, rng)}
    assert drawn == {"Near", "Far"}
    source = example.benchmark("ML10", 0)
    for split, tasks in (
        ("train", source.train_tasks),
        ("validation", source.train_tasks),
        ("test", source.test_tasks),
    ):
        assert set(env.sample_tasks(60, rng, split)) == set(tasks)


def test_a_task_sets_the_environment_and_the_goal(example):
    env = example.MetaWorld("ML10", render_mode="rgb_array")
    with pytest.raises(RuntimeError, match="set_task"):
        env.reset()
    near, far = env.sample_tasks(2, np.random.default_rng(0))
    env.set_task(near)
    first = env._simulated
    assert type(first) is Near
    env.set_task(far)
    assert first.closed
    assert type(env._simulated) is Far
    assert env._simulated.render_mode == "rgb_array"
    np.testing.assert_array_equal(env._simulated.goal, pickle.loads(far.data)["rand_vec"])
    assert env.describe(far).startswith("Far ")
    other = copy.deepcopy(env)
    assert other.task == far
    assert other._simulated is not env._simulated
    env.set_task(near)
    assert type(other._simulated) is Far


def test_an_unknown_name_is_refused_with_those_there_are(example):
    with pytest.raises(ValueError, match=r"'reach'.*ML10.*Near"):
        example.benchmark("reach", 0)


def test_episodes_are_cut_at_the_horizon_and_those_that_go_on_are_left_out(example):
    ends = np.array([[0, 1], [1, 0], [0, 0], [0, 1], [1, 0], [0, 0]], bool)
    steps = [
        Timestep(
            np.full((2, 1), t),
            np.zeros((2, 1)),
            np.array([t, 10 + t]),
            ends[t] & (t < 2),
            ends[t] & (t >= 2),
            {"drawn": np.full((2, 1), -t), "log_prob": np.array([t, t])},
        )
        for t in range(6)
    ]
    found = example.episodes(steps, 2, lambda x: x.astype(np.float32))
    assert found.rewards.tolist() == [[[0, 1], [2, 3]], [[10, 0], [11, 12]]]
    assert found.mask.tolist() == [[[1, 1], [1, 1]], [[1, 0], [1, 1]]]
    assert found.actions[..., 0].tolist() == [[[0, -1], [-2, -3]], [[0, 0], [-1, -2]]]
    assert found.log_probs.tolist() == [[[0, 1], [2, 3]], [[0, 0], [1, 2]]]
    assert found.observations[..., 0].tolist() == found.log_probs.tolist()
    assert found.terminated.tolist() == [[1, 0], [1, 0]]
    assert found.final_observations[..., 0].tolist() == [[1, 3], [0, 2]]
    for none in ([], steps[:1][:0], steps[2:3]):
        with pytest.raises(ValueError, match="No episode has ended"):
            example.episodes(none, 2, lambda x: x)


@pytest.mark.slow
def test_adapted_policies_are_those_of_load_and_adapt(example, run):
    learner = rlmaml.load(run)
    tasks = example.benchmark("ML10", 0).test_tasks[::2]  # one of each kind
    kinds = [(pickle.loads(task.data)["env_cls"], task) for task in tasks]
    agent = example.AdaptingAgent(learner, vector_of(kinds))
    before = {name: value.clone() for name, value in agent.params.items()}
    recordings = [Recording(vector_of([each] * EPISODES)) for each in kinds]
    wanted = [learner.adapt(each, seed=i) for i, each in enumerate(recordings)]
    for k in range(2):
        for b in range(EPISODES):
            for t in range(LIMIT):
                within = min(t, HORIZON - 1)  # later steps are not to be looked at
                support = [policy.episodes[k] for policy in wanted]
                agent.step(
                    Timestep(
                        np.stack([each.seen[k][within][b] for each in recordings])
                        + 9 * (t > within),
                        np.zeros((2, 2)),
                        np.array([each.rewards[k][within][b] for each in recordings]),
                        np.zeros(2, bool),
                        np.full(2, t == LIMIT - 1),
                        {
                            "drawn": np.stack([each.actions[b, within] for each in support]),
                            "log_prob": np.stack([each.log_probs[b, within] for each in support]),
                        },
                    )
                )
        agent.adapt()
    for i, policy in enumerate(wanted):
        for name, value in policy.params.items():
            torch.testing.assert_close(agent.params[name][i], value, rtol=1e-5, atol=1e-6)
    moved = [(agent.params[name] - value).abs().max() for name, value in before.items()]
    assert min(moved) > 1e-3
    agent.init()
    assert all(torch.equal(agent.params[name], value) for name, value in before.items())


@pytest.mark.slow
def test_actions_are_drawn_from_the_run_s_policy(example, run):
    learner = rlmaml.load(run)
    kinds = [(Near, example.benchmark("ML10", 0).test_tasks[0])] * 2
    agent = example.AdaptingAgent(learner, vector_of(kinds), deterministic=True)
    policy = learner.adapt(vector_of(kinds[:1]), steps=0)
    observations = np.array([[0.3, -0.2], [3.0, 1.0]])
    actions, outputs = agent.adapt_action(observations)
    drawn = outputs["drawn"]
    np.testing.assert_array_equal(actions, drawn.clip(-1, 1))
    log_prob = policy.distribution(observations).log_prob(torch.from_numpy(drawn))
    np.testing.assert_allclose(outputs["log_prob"], log_prob, rtol=1e-5)
    assert not np.array_equal(agent.adapt_action(observations)[1]["drawn"], drawn)
    likeliest = policy.act(observations, deterministic=True)
    np.testing.assert_allclose(agent.eval_action(observations), likeliest, rtol=1e-5)


@pytest.mark.slow
def test_runs_that_cannot_be_measured_are_refused(example, run):
    learner = rlmaml.load(run)
    envs = vector_of([(Near, example.benchmark("ML10", 0).test_tasks[0])])
    learner.config = learner.config.changed({"inner_advantages.bootstrap": True})
    with pytest.raises(ConfigError, match="bootstrap"):
        example.AdaptingAgent(learner, envs)
    with pytest.raises(ConfigError, match="learned from examples"):
        example.AdaptingAgent(rlmaml.load(ROOT / "tests/data/runs/examples"), envs)


@pytest.mark.slow
def test_it_measures_before_and_after_adaptation(example, run, tmp_path, capsys):
    example.main(run, copies=2, adaptation_episodes=2, out=tmp_path / "result.json")
    printed = capsys.readouterr().out
    assert "success rate before adaptation: 1.000" in printed
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["benchmark"] == {"name": "ML10", "seed": 0}
    assert result["before"]["names"] == {"Near": 0}
    assert result["after"]["names"] == {"Near": 2}
    assert result["before"]["return"] != result["after"]["return"]
    with pytest.raises(ConfigError, match="copies must divide the 2 goals"):
        example.main(run, copies=3)


@pytest.mark.slow
def test_with_meta_world_itself(tmp_path, monkeypatch, capsys):
    pytest.importorskip("metaworld")
    example = imported(monkeypatch, {})
    env = example.MetaWorld("reach-v3")
    (task,) = env.sample_tasks(1, np.random.default_rng(0), "test")
    env.set_task(task)
    observation, _ = env.reset()
    assert env.observation_space.contains(observation)
    for _ in range(20):  # forward: the hand follows the body that it is welded to
        moved, _, _, _, info = env.step(np.array([0.0, 1.0, 0.0, 0.0]))
    assert 0.1 < moved[1] - observation[1] < 0.25
    assert abs(moved[0] - observation[0]) < 0.02
    assert set(example.MetaWorld.diagnostics) <= set(info)
    words = ["--env.id", "MetaWorld-v0", "--env.kwargs", '{"name": "reach-v3"}', "--quiet"]
    tiny(tmp_path / "run", *words, "--iterations", "1")
    example.main(
        tmp_path / "run", 10, adaptation_episodes=1, evaluation_episodes=1, max_episode_steps=6
    )
    printed = capsys.readouterr().out
    assert "success rate after adaptation: 0.000" in printed
