"""Rollouts of N policies on N tasks at once."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor

from rlmaml import tree
from rlmaml.advantages import AdvantageConfig, values_and_advantages
from rlmaml.distributions import Distribution
from rlmaml.errors import ConfigError
from rlmaml.models import Functional
from rlmaml.objective import over_tasks
from rlmaml.profiling import one_thread, timer
from rlmaml.rng import Key, generator
from rlmaml.sampling import on_device
from rlmaml.sampling.buffer import RolloutBuffer
from rlmaml.sampling.faults import (
    DIVERGED,
    env_name,
    require_finite,
    require_finite_actions,
    require_finite_tasks,
)
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.reports import reported
from rlmaml.sampling.spaces import action_filter, encoder, stack
from rlmaml.sampling.stacked_mlp import actor
from rlmaml.sampling.vector_env import Info, TaskVectorEnv
from rlmaml.types import Episodes, Params, Policy, Role

_STEPS_AT_ONCE = 32_768
"""Time steps whose advantages are estimated in one stacked computation on a CPU, for its cache."""

TAKEN = ("return", "diverged", "task")
"""Names of what is reported of every environment."""


class RolloutSampler:
    """Rolls out N policies on N tasks, B episodes each, one stacked policy call a step.

    Args:
        env: a vector environment of N·B copies with `set_tasks` (`rlmaml.sampling.vector_env`),
            autoreset DISABLED (finished copies rest) or SAME_STEP (what follows the first end is
            thrown away). Environment i·B + j runs episode j of task i.
        policy: (params, observations) -> distribution.
        episodes: B.
        horizon: T, time steps per episode at most.
        advantages: how the query episodes' advantages are estimated; None leaves them zero.
        support_advantages: the same for the support episodes; None is as for the query. The
            inner step gains from a shorter horizon (less noise in few episodes), the outer
            step from a longer one (less bias).
        normalizer: standardizes what the policy sees, if given.
        device: where policies act. Environments that step in tensors there (`on_device`) do.
        deterministic: take each policy's likeliest action, and draw only the first states. For
            measuring alone: nothing is learned from actions that were not drawn.
        rescale_actions: map what policies do from [-1, 1] to the bounds of the action space.
        first: the number of the first task among those of all processes.

    Raises:
        ConfigError: a number of copies that is no multiple of B, another autoreset mode, spaces
            that policies cannot see or act in, or a network that cannot be meta-trained.
    """

    def __init__(
        self,
        env: TaskVectorEnv,
        policy: Policy,
        *,
        episodes: int,
        horizon: int,
        advantages: AdvantageConfig | None = None,
        support_advantages: AdvantageConfig | None = None,
        normalizer: Normalizer | None = None,
        device: torch.device | str = "cpu",
        deterministic: bool = False,
        rescale_actions: bool = False,
        first: int = 0,
    ) -> None:
        if env.num_envs % episodes:
            raise ConfigError(
                f"The environment runs {env.num_envs} copies, which {episodes} episodes per task "
                "do not divide. Make it with num_envs = tasks * episodes."
            )
        mode = env.metadata.get("autoreset_mode")
        with contextlib.suppress(ValueError):
            mode = AutoresetMode(mode)  # by its name
        if mode not in (AutoresetMode.DISABLED, AutoresetMode.SAME_STEP):
            raise ConfigError(
                f"The environment's autoreset mode is {mode}: use SAME_STEP or DISABLED, since "
                "NEXT_STEP puts a dead step into every episode."
            )
        self._same_step = mode == AutoresetMode.SAME_STEP
        self.env, self.policy, self.device = env, policy, torch.device(device)
        self.tasks, self.episodes, self.horizon = env.num_envs // episodes, episodes, horizon
        inner = support_advantages or advantages
        self.advantages = {"support": inner, "hessian": inner, "query": advantages}
        self.normalizer, self.deterministic, self.first = normalizer, deterministic, first
        self.encode, self.observation_shape = encoder(env.single_observation_space)
        space = env.single_action_space
        self._to_env = action_filter(space, rescale_actions)
        self._there = on_device.find(env, self.device)
        if self._there is not None:
            self._to_device = on_device.action_filter(space, rescale_actions, self.device)
        if isinstance(policy, Functional):
            policy.attempt(self.observation_shape, episodes)
        # By the names that they are reported by.
        self._reported = {
            f"info/{name}" if name in TAKEN else name: name
            for name in getattr(env, "diagnostics", ())
        }

    @torch.no_grad()
    def __call__(
        self,
        params: Params,
        tasks: NDArray[np.generic],
        key: Key,
        role: Role = "query",
        step: int = 0,
    ) -> Episodes:
        """Sample episodes.

        Args:
            params: leaves [N, ...], policy i for task i.
            tasks: [N, *task_space.shape].
            key: what all randomness of this call derives from, together with the task's index;
                `step` is added to its last entry.
            role: whether an inner step will learn from the episodes, its derivative, or the outer
                loss. Those for the derivative of a step are independent of those for the step.
            step: inner steps taken so far.

        Raises:
            FloatingPointError: a policy drew actions that are not finite.
            EnvironmentFault: tasks, observations or rewards that are not finite.
            ValueError: a number of tasks that is not N.

        Returns:
            Episodes with leaves [N, B, ...], on `device`.
        """
        params, rngs = self.begin(params, tasks, key, role, step)
        with timer("rollouts"):
            recorded = self.roll_out(params, np.full(self.tasks, self.episodes), rngs)
        return self.finish(recorded, role)

    @property
    def numbers(self) -> range:
        """The numbers of the tasks among those of all processes, by which their draws go."""
        return range(self.first, self.first + self.tasks)

    def begin(
        self, params: Params, tasks: NDArray[np.generic], key: Key, role: Role, step: int
    ) -> tuple[Params, list[np.random.Generator]]:
        """Give the environments their tasks. Arguments as of a call.

        Returns:
            The parameters on `device`, and a generator for each task.
        """
        if len(tasks) != self.tasks:
            raise ValueError(
                f"Got {len(tasks)} tasks, but the environment is sized for "
                f"{self.tasks} ({self.env.num_envs} copies, {self.episodes} episodes)."
            )
        require_finite_tasks(tasks, self.env)
        own = (1,) if role == "hessian" else ()
        rngs = [generator(*key[:-1], key[-1] + step, i, *own) for i in self.numbers]
        params = tree.to(params, self.device)
        self.env.set_tasks(np.repeat(tasks, self.episodes, axis=0))
        return params, rngs

    def roll_out(
        self, params: Params, counts: NDArray[np.int_], rngs: list[np.random.Generator]
    ) -> Episodes:
        """Episodes as the environments gave them, without advantages.

        Args:
            params: leaves [N, ...], on `device`.
            counts: how many episodes of each task [N], at most B; the rest is padding.
            rngs: a generator for each task.
        """
        active = (np.arange(self.episodes) < counts[:, None]).ravel()
        if not getattr(self.env, "plays_one", False):
            return self._play(params, active, rngs)
        whole = None
        for place in np.flatnonzero(active).tolist():  # with the draws of all at once
            only = np.arange(len(active)) == place
            played = self._play(params, only, copy.deepcopy(rngs))
            mine = torch.from_numpy(only).view(self.tasks, self.episodes).to(self.device)
            part = tree.map(partial(_where, mine), played)
            whole = part if whole is None else tree.map(torch.add, whole, part)
        assert whole is not None  # of some task there is an episode to play
        return whole

    def _play(
        self, params: Params, active: NDArray[np.bool_], rngs: list[np.random.Generator]
    ) -> Episodes:
        """Episodes in the environments that are active [M]; those of the others are padding."""
        if self._there is not None:
            return self._play_there(self._there, params, active, rngs)
        buffer = RolloutBuffer(
            tasks=self.tasks,
            episodes=self.episodes,
            horizon=self.horizon,
            observation_shape=self.observation_shape,
            diagnostics=tuple(self._reported),
            active=active,
        )
        observed = self._reset(buffer.alive, rngs)
        observed = self._finite("observation", observed, buffer.alive, 0)
        acting = self._acting(params, rngs, torch.device("cpu"))
        with one_thread():  # more would spin beside the simulator's and slow it down
            for t in range(self.horizon):
                seen = buffer.observe(t, observed)
                policy, actions = acting(seen, t)
                require_finite_actions(actions)
                buffer.act(policy, actions)
                following, *numbers, info = self.env.step(
                    self._to_env(actions.flatten(0, 1).cpu().numpy())
                )
                rewards, terminations, truncations = self._numbers(numbers)
                observed = self._encoded(following, "step")
                reports = self._reports(info)
                counted = buffer.alive & ~(reports["diverged"] > 0)
                buffer.record(t, self._finite("reward", rewards, counted, t + 1), reports)
                ended = (terminations | truncations) & buffer.alive
                # With SAME_STEP what follows an end is of another episode.
                going = counted & ~ended if self._same_step else counted
                observed = self._finite("observation", observed, going, t + 1)
                if ended.any():
                    last = observed
                    if self._same_step:
                        last = observed.copy()
                        last[ended] = self._final(info, ended)
                        last = self._finite("observation", last, counted, t + 1)
                    buffer.end(ended, terminations, last[ended])
                    if not buffer.alive.any():
                        break
        return buffer.finish(observed, self.device)

    def _play_there(
        self,
        env: on_device.DeviceEnv,
        params: Params,
        active: NDArray[np.bool_],
        rngs: list[np.random.Generator],
    ) -> Episodes:
        """The same in environments that step in tensors, without looking at any value."""
        alive = torch.from_numpy(active).to(self.device)
        observed = env.begin(self._seeds(rngs), alive)
        shape = self.tasks, self.episodes
        trajectory = on_device.Trajectory(shape, self._reported, alive, observed)
        acting = self._acting(params, rngs, self.device)
        with one_thread():  # as on the host
            for t in range(self.horizon):
                policy, actions = acting(trajectory.seen, t)
                trajectory.record(policy, actions, env.step(self._to_device(actions.flatten(0, 1))))
        env.check()
        trajectory.require_finite(self.env)
        return trajectory.finish()

    def finish(self, recorded: Episodes, role: Role) -> Episodes:
        """Standardize observations, noting them first, and estimate advantages.

        Args:
            recorded: what `roll_out` gave, leaves [N, B, ...].
            role: what they are for, which decides how advantages are estimated.
        """
        if self.normalizer is not None:
            self.normalizer.observe(recorded.observations, recorded.mask)
            recorded = recorded._replace(
                observations=self.normalizer.of_tasks(recorded.observations),
                final_observations=self.normalizer(recorded.final_observations),
            )
        return self.valued(recorded, role)

    def valued(self, recorded: Episodes, role: Role) -> Episodes:
        """Estimate advantages as they are for a purpose, leaves [N, B, ...]."""
        config = self.advantages[role]
        if config is None:
            return recorded
        with timer("advantages"):
            on_cpu, steps = recorded.mask.device.type == "cpu", self.episodes * self.horizon
            stacked = over_tasks(
                partial(values_and_advantages, config=config),
                chunk_size=max(1, _STEPS_AT_ONCE // steps) if on_cpu else None,
            )
            values, advantages = stacked(recorded)
        return recorded._replace(values=values, advantages=advantages)

    def _reset(
        self, active: NDArray[np.bool_], rngs: list[np.random.Generator]
    ) -> NDArray[np.float32]:
        """First observations [M, *obs]. Copies that are not active rest, where they can."""
        everyone = active.all() or self._same_step
        options = None if everyone else {"reset_mask": active.copy()}
        return self._encoded(self.env.reset(seed=self._seeds(rngs), options=options)[0], "reset")

    def _seeds(self, rngs: list[np.random.Generator]) -> list[int]:
        """Seeds of first states, M."""
        return [int(s) for rng in rngs for s in rng.integers(2**31, size=self.episodes)]

    def _encoded(self, observations: Any, method: str) -> NDArray[np.float32]:
        """Observations [M, *obs], whatever a vector environment of somebody's own gave for them."""
        encoded = self.encode(observations)
        wanted = (self.env.num_envs, *self.observation_shape)
        if encoded.shape != wanted:
            raise ConfigError(
                f"`{method}` of {env_name(self.env)} gave observations of shape {encoded.shape}, "
                f"where {wanted} is needed. It must return (observations, "
                f"{'info' if method == 'reset' else 'rewards, terminations, truncations, info'})."
            )
        return encoded

    def _numbers(self, given: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rewards, terminations and truncations [M] each."""
        arrays = [np.asarray(each) for each in given]
        shapes = [array.shape for array in arrays]
        if shapes != [(self.env.num_envs,)] * 3:
            raise ConfigError(
                f"`step` of {env_name(self.env)} gave {shapes} between observations and info: "
                f"rewards, terminations and truncations [{self.env.num_envs}] are needed."
            )
        return arrays[0], arrays[1].astype(bool), arrays[2].astype(bool)

    def _finite(
        self, what: str, values: np.ndarray, counted: NDArray[np.bool_], step: int
    ) -> np.ndarray:
        """What environments gave [M, ...], found finite where it is counted, or else refused."""
        where = {"step": step, "episodes": self.episodes}
        return require_finite(values, counted, self.env, what=what, **where)

    def _final(self, info: Info, ended: NDArray[np.bool_]) -> NDArray[np.float32]:
        """What those whose episode ended saw last [those, *obs], with SAME_STEP."""
        space = self.env.single_observation_space
        if "final_obs" not in info:
            raise ConfigError(
                f"{env_name(self.env)} says that its autoreset mode is SAME_STEP, but has no "
                "info['final_obs'] where an episode ended: report what was seen last there, or let "
                "finished copies rest and say DISABLED."
            )
        return self.encode(stack(space, list(info["final_obs"][ended])))

    def _acting(
        self, params: Params, rngs: list[np.random.Generator], seen_on: torch.device
    ) -> Callable[[Tensor, int], tuple[Distribution, Tensor]]:
        """The function from what is seen at a time step to policies and the actions they take."""
        act, noise = actor(self.policy, params), None
        standardized = None if self.normalizer is None else self.normalizer.on(seen_on)

        def acting(seen: Tensor, t: int) -> tuple[Distribution, Tensor]:
            nonlocal noise
            policy = act((standardized(seen) if standardized else seen).to(self.device))
            if self.deterministic:
                return policy, policy.mode()
            noise = self._noise(policy, rngs) if noise is None else noise
            return policy, policy.sample(noise[t])

        return acting

    def _noise(self, policy: Distribution, rngs: list[np.random.Generator]) -> Tensor:
        """Noise that all steps draw their actions from, [T, N, B, ...] as the distribution says."""
        drawn = [policy.noise(rng, (self.horizon, self.episodes)) for rng in rngs]
        return torch.from_numpy(np.stack(drawn, 1)).to(self.device)

    def _reports(self, info: Info) -> dict[str, NDArray[np.float64]]:
        """Values that the environments report of the step just taken, [M] each."""
        names = {**self._reported, "diverged": DIVERGED}
        try:
            return {name: reported(info, key, self.env.num_envs) for name, key in names.items()}
        except (TypeError, ValueError) as problem:
            keys = ", ".join(names.values())
            raise ConfigError(
                f"{env_name(self.env)} reports something in info that is no number, under one of "
                f"{keys}: {problem}. Mend that, or its `diagnostics`."
            ) from problem


def _where(places: Tensor, leaf: Tensor) -> Tensor:
    """A leaf [N, B, ...] with zeros in all places but those [N, B]."""
    return torch.where(places.view(*places.shape, *[1] * (leaf.ndim - 2)), leaf, 0)
