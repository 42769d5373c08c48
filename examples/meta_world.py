"""Meta-train on Meta-World, and measure what was trained by Meta-World's own protocol.

    python -m pip install --no-deps metaworld==3.1.1    # it asks for mujoco 3.3.0, and runs with 4
    rlmaml train half-cheetah-vel --env.id examples.meta_world:MetaWorld-v0 \
        --env.kwargs '{"name": "reach-v3"}' --out runs/reach
    python examples/meta_world.py --run runs/reach

Settings, results, and what differs from the published protocol: docs/meta_world.md.
"""

from __future__ import annotations

import functools
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np
import torch
import tyro
from gymnasium.vector import VectorEnv

import rlmaml
from rlmaml import checkpoint, tree
from rlmaml.build import build
from rlmaml.distributions import Distribution
from rlmaml.errors import ConfigError
from rlmaml.rng import Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.fill_to_horizon import FillToHorizon
from rlmaml.sampling.fixed_task import FixedTask
from rlmaml.sampling.spaces import action_filter
from rlmaml.sampling.stacked_mlp import actor
from rlmaml.torch_state import making_tensors
from rlmaml.types import Episodes, Params
from runners.io import versions

try:
    import metaworld
    import metaworld.evaluation
    from metaworld.sawyer_xyz_env import SawyerMocapBase
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"This example needs Meta-World, and there is no module {missing.name}. Install it without "
        "what it asks for, since that would replace MuJoCo by an older one: "
        "python -m pip install --no-deps metaworld==3.1.1",
        name=missing.name,
    ) from missing

WELD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)
"""What Meta-World writes into a weld: anchor, relative position and rotation, torque scale."""


def reset_mocap_welds(env: Any) -> None:
    """Write Meta-World's welds into an environment's `model`, an `MjModel` of MuJoCo 4.

    Each has 12 numbers there, of which the first 11 are those of the MuJoCo that Meta-World was
    written for. The last stays as it was compiled.
    """
    model = env.model
    if model.nmocap:
        model.eq_data[model.eq_type == mujoco.mjtEq.mjEQ_WELD, : len(WELD)] = WELD


SawyerMocapBase.reset_mocap_welds = reset_mocap_welds


@functools.cache
def benchmark(name: str, seed: int) -> Any:
    """Meta-World's benchmark of a name, with its training and test tasks.

    Args:
        name: of one environment, such as reach-v3, for ML1; or ML10, ML25 or ML45.
        seed: of the goals.

    Raises:
        ValueError: an unknown name.
    """
    several = {"ML10": metaworld.ML10, "ML25": metaworld.ML25, "ML45": metaworld.ML45}
    if name not in several and name not in metaworld.ML1.ENV_NAMES:
        raise ValueError(
            f"There is no benchmark {name!r}: take one of {', '.join(several)}, or for ML1 one of "
            f"{', '.join(metaworld.ML1.ENV_NAMES)}."
        )
    return several[name](seed=seed) if name in several else metaworld.ML1(name, seed=seed)


class MetaWorld(gymnasium.Env):
    """A meta-learning benchmark of Meta-World: a task is an environment and its goal.

    Tasks are Meta-World's own `Task` objects. A task of another environment than the one before
    has another simulator made.

    Args:
        name: as of `benchmark`.
        seed: of the goals. It is the benchmark's: `--seed` of a run draws other tasks of the same.
        render_mode: as of Meta-World's environments.
    """

    metadata: ClassVar = {"render_modes": ["human", "rgb_array", "depth_array"], "render_fps": 80}
    diagnostics = ("success",)

    def __init__(self, name: str = "reach-v3", seed: int = 0, render_mode: str | None = None):
        self._given = {"name": name, "seed": seed, "render_mode": render_mode}
        self.render_mode, self.task = render_mode, None
        kind = next(iter(benchmark(name, seed).train_classes.values()))
        self._simulated: Any = kind(render_mode=render_mode)
        # Those of all environments are the same, as long as goals are hidden.
        self.observation_space = self._simulated.observation_space
        self.action_space = self._simulated.action_space

    def __deepcopy__(self, memo: dict[int, Any]) -> MetaWorld:
        made = type(self)(**self._given)
        if self.task is not None:
            made.set_task(self.task)
        return made

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> list[Any]:
        """Draw n tasks.

        Where n is a multiple of the number of environments, these take turns, and there are as many
        goals of each; otherwise the environment is drawn too.

        Args:
            n, rng: how many, and what is drawn from.
            split: "test" for the benchmark's test tasks; all others are its training tasks.
        """
        source = benchmark(self._given["name"], self._given["seed"])
        goals: dict[str, list[Any]] = {}
        for task in source.test_tasks if split == "test" else source.train_tasks:
            goals.setdefault(task.env_name, []).append(task)
        kinds, count = list(goals.values()), len(goals)
        turns = np.arange(n) % count if n % count == 0 else rng.integers(count, size=n)
        return [kinds[i][rng.integers(len(kinds[i]))] for i in turns.tolist()]

    def set_task(self, task: Any) -> None:
        """Set a `metaworld.Task`."""
        kind = pickle.loads(task.data)["env_cls"]
        if type(self._simulated) is not kind:
            self.close()
            self._simulated = kind(render_mode=self.render_mode)
        self._simulated.set_task(task)
        self.task = task

    def describe(self, task: Any) -> str:
        """The environment's name, and the numbers that place its object and goal, in meters."""
        placed = pickle.loads(task.data)["rand_vec"]
        return f"{task.env_name} {' '.join(f'{x:.2f}' for x in placed)}"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        if self.task is None:
            raise RuntimeError("The environment has no task yet: call set_task before reset.")
        return self._simulated.reset()

    def step(self, action: np.ndarray):
        return self._simulated.step(action)

    def render(self):
        return self._simulated.render()

    def close(self) -> None:
        self._simulated.close()


gymnasium.register("MetaWorld-v0", entry_point=MetaWorld)


class AdaptingAgent:
    """A run as an agent of Meta-World's protocol, `metaworld.evaluation.MetaLearningAgent`.

    Each environment has a policy of its own. All of it is the run's: the inner step with its
    advantages, how observations are standardized, and the horizon, beyond which an inner step sees
    nothing of an episode.

    Args:
        learner: of `rlmaml.load`.
        envs: what it is measured in, of which each may have a task of its own; M environments.
        seed: of actions.
        deterministic: take the likeliest action after adaptation, instead of drawing one.

    Attributes:
        params: the policies' parameters, leaves [M, ...].

    Raises:
        ConfigError: a run on examples, or whose inner steps go on with a baseline's value at a time
            limit.
        ValueError: other spaces than the run's.
    """

    def __init__(
        self, learner: rlmaml.Learner, envs: VectorEnv, seed: int = 0, deterministic: bool = False
    ) -> None:
        config = replace(learner.config, device="cpu", sampling_device="cpu")
        if learner.supervised:
            raise ConfigError(f"{learner.path} learned from examples: take a run on episodes.")
        if config.inner_advantages.bootstrap:
            raise ConfigError(
                f"{learner.path} has inner_advantages.bootstrap, which needs what is seen after an "
                "episode's last step, and Meta-World's loop does not tell: train without it."
            )
        self._made = build(config, FixedTask(envs, ()), tasks=envs.num_envs)
        self._inner, self._normalizer = self._made.algorithm.inner, self._made.normalizer
        built = self._made.algorithm.init_meta(self._made.params)
        self._meta = checkpoint.fitted(learner.meta, built)
        if self._normalizer is not None:
            self._normalizer.load_state_dict(checkpoint.load(learner.path).state["normalizer"])
        sampler: Any = self._made.sampler
        self._sampler = sampler.sampler if isinstance(sampler, FillToHorizon) else sampler
        self._to_env = action_filter(envs.single_action_space, config.env.rescale_actions)
        self._rng = generator(seed, 0, Phase.EVALUATION_ROLLOUT)
        self._count, self._horizon = envs.num_envs, config.horizon
        self._deterministic = deterministic
        self.init()

    def init(self) -> None:
        """Begin anew, with new tasks."""
        self._support: list[Episodes] = []
        self._timesteps: list[Any] = []
        self._act_by(tree.repeat(self._inner.start(self._meta), self._count))

    def reset(self, env_mask: np.ndarray) -> None:
        """Do nothing: policies remember nothing of an episode."""

    def adapt_action(self, observations: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Draw actions to learn from.

        Args:
            observations: [M, *obs].

        Returns:
            Actions [M, *act], and of them before they were clipped "drawn" [M, *act] and "log_prob"
            [M].
        """
        policy = self._policies(observations)
        actions = self._draw(policy)
        log_prob, drawn = policy.log_prob(actions)[:, 0].numpy(), actions[:, 0].numpy()
        return self._to_env(drawn), {"drawn": drawn, "log_prob": log_prob}

    def step(self, timestep: Any) -> None:
        """Note a `metaworld.evaluation.Timestep` of all environments."""
        self._timesteps.append(timestep)

    @making_tensors
    def adapt(self) -> None:
        """Take the run's next inner step, on the whole episodes since the last one.

        Raises:
            FloatingPointError: parameters that have blown up.
        """
        played = episodes(self._timesteps, self._horizon, self._sampler.encode)
        self._support.append(self._sampler.finish(played, "support"))
        self._timesteps = []
        # Earlier steps are taken once more, since the run's own loop begins at the beginning.
        batch = collect(
            lambda params, tasks, key, role, step: self._support[step],
            self._inner,
            self._meta,
            np.zeros(self._count),  # the environments have their own tasks
            steps=len(self._support),
            key=(0, 0, 0),  # by which nothing is drawn
            query=False,
        )
        self._act_by(batch.iterates[-1])
        if not all(value.isfinite().all() for value in tree.leaves(self.params)):
            raise FloatingPointError("The adapted parameters are not finite: the step is too long.")

    def eval_action(self, observations: np.ndarray) -> np.ndarray:
        """Actions [M, *act] of the adapted policies, given observations [M, *obs]."""
        policy = self._policies(observations)
        actions = policy.mode() if self._deterministic else self._draw(policy)
        return self._to_env(actions[:, 0].numpy())

    def _act_by(self, params: Params) -> None:
        self.params, self._act = params, actor(self._made.algorithm.policy, params)

    @making_tensors
    def _policies(self, observations: np.ndarray) -> Distribution:
        """Distributions over actions [M, 1, ...]."""
        seen = torch.from_numpy(self._sampler.encode(observations)).unsqueeze(1)
        return self._act(seen if self._normalizer is None else self._normalizer(seen))

    def _draw(self, policy: Distribution) -> torch.Tensor:
        return policy.sample(torch.from_numpy(policy.noise(self._rng, (self._count, 1))))


def episodes(timesteps: list[Any], horizon: int, encode: Any) -> Episodes:
    """The whole episodes of M environments' timesteps, without values and advantages.

    Args:
        timesteps: one after another, with the `aux_policy_outputs` of `adapt_action`.
        horizon: T, time steps that are taken of an episode.
        encode: makes observations [M, *obs] those that policies see, float32 [M, *shape].

    Returns:
        Leaves [M, B, ...], B episodes of the environment with most; others have padding. The last
        observation stands for the final one, which only bootstrapping looks at.

    Raises:
        ValueError: no episode that has ended.
    """
    terminated = np.array([each.terminated for each in timesteps], bool)  # [S, M]
    ends = terminated | np.array([each.truncated for each in timesteps], bool)
    if not ends.any():
        raise ValueError("No episode has ended since the last inner step: play some first.")
    rows = np.full((ends.shape[1], ends.sum(0).max(), horizon), -1)  # the step at each place
    lasts = np.zeros(rows.shape[:2], int)
    for i, own in enumerate(rows):
        first = 0
        for b, end in enumerate(np.flatnonzero(ends[:, i]).tolist()):
            length = min(end + 1 - first, horizon)
            own[b, :length] = first + np.arange(length)
            first, lasts[i, b] = end + 1, first + length - 1
    mask, which = rows >= 0, np.arange(len(rows))[:, None, None]

    def placed(values: list[np.ndarray]) -> torch.Tensor:  # S of [M, ...] -> [M, B, T, ...]
        found = np.stack(values)[rows, which]
        found[~mask] = 0
        return torch.from_numpy(found if found.dtype.kind in "iu" else found.astype(np.float32))

    seen = [encode(each.observation) for each in timesteps]
    nothing = torch.zeros(mask.shape)
    return Episodes(
        observations=placed(seen),
        actions=placed([each.aux_policy_outputs["drawn"] for each in timesteps]),
        log_probs=placed([each.aux_policy_outputs["log_prob"] for each in timesteps]),
        rewards=placed([each.reward for each in timesteps]),
        values=nothing,
        advantages=nothing,
        mask=torch.from_numpy(mask).float(),
        terminated=torch.from_numpy(terminated[lasts, which[..., 0]]).float(),
        final_observations=torch.from_numpy(np.stack(seen)[lasts, which[..., 0]]),
        diagnostics={"diverged": nothing},
    )


def main(
    run: Path,
    copies: int = 1,
    adaptation_episodes: int = 10,
    evaluation_episodes: int = 3,
    max_episode_steps: int | None = None,
    deterministic: bool = False,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Measure a run by Meta-World's protocol, on all test tasks of its benchmark.

    Args:
        run: Run folder.
        copies: Environments of each name, that play different goals at once. Meta-World counts the
            episodes of a name that end first: with several it prefers those that succeed early.
        adaptation_episodes: Episodes before each inner step.
        evaluation_episodes: Episodes after the last.
        max_episode_steps: Time steps of an episode; Meta-World's 500 if not given.
        deterministic: Take the likeliest actions after adaptation, instead of drawing them.
        seed: Of actions.
        out: JSON file to write.
    """
    learner = rlmaml.load(run, trust=True)  # its environment's module is this file
    given = {"name": "reach-v3", "seed": 0} | learner.config.env.kwargs
    source = benchmark(given["name"], given["seed"])
    goals = len(source.test_tasks) // len(source.test_classes)
    if copies < 1 or goals % copies:
        raise ConfigError(f"--copies must divide the {goals} goals of a name, got {copies}.")
    protocol = {
        "num_evals": goals // copies,
        "adaptation_episodes": adaptation_episodes,
        "evaluation_episodes": evaluation_episodes,
    }
    scores = {}
    for when, steps in (("before", 0), ("after", learner.config.inner.steps)):
        envs = metaworld.make_ml_envs_test(
            given["name"],
            seed=given["seed"],
            meta_batch_size=copies * len(source.test_classes),
            max_episode_steps=max_episode_steps,
        )
        agent = AdaptingAgent(learner, envs, seed=seed, deterministic=deterministic)
        success, mean_return, rates = metaworld.evaluation.metalearning_evaluation(
            agent, envs, adaptation_steps=steps, **protocol
        )
        envs.close()
        by_name = {name: float(rate) for name, rate in rates.items()}
        scores[when] = {"success": float(success), "return": float(mean_return), "names": by_name}
        print(f"success rate {when} adaptation: {success:.3f}, return: {mean_return:.1f}")
    if out is not None:
        options = {"copies": copies, "deterministic": deterministic, "seed": seed}
        options |= {"max_episode_steps": max_episode_steps, "adaptation_steps": steps}
        trained = {"seed": learner.config.seed, "iterations": learner.iteration}
        result = {"benchmark": given, "run": trained, "protocol": options | protocol, **scores}
        out.write_text(json.dumps(result | {"versions": versions()}, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
