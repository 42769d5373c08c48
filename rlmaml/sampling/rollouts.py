"""Rollouts of N policies on N tasks at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from rlmaml import tree
from rlmaml.advantages import AdvantageConfig, estimate_advantages
from rlmaml.distributions import Distribution, stack
from rlmaml.objective import over_tasks
from rlmaml.profiling import one_thread, timer
from rlmaml.rng import Key, generator
from rlmaml.sampling.normalizer import Normalizer
from rlmaml.sampling.spaces import action_filter, encoder
from rlmaml.sampling.stacked_mlp import actor
from rlmaml.types import Episodes, Params, Policy, Role

MOST_EPISODES = 10
"""Times B episodes, at most, that a task has to come by B·T time steps."""


_STEPS_AT_ONCE = 32_768
"""Time steps whose advantages are estimated in one stacked computation on a CPU, for its cache."""


class RolloutSampler:
    """Rolls out N policies on N tasks, B episodes each, one stacked policy call a step.

    Args:
        env: a vector environment of N·B copies with `task_space` and `set_tasks` (see
            `rlmaml.tasks`), autoreset DISABLED (finished copies rest) or SAME_STEP (what
            follows the first end is thrown away). Environment i·B + j runs episode j of task i.
        policy: (params, observations) -> distribution.
        episodes: B.
        horizon: T, time steps per episode at most.
        advantages: how the query episodes' advantages are estimated; None leaves them zero.
        support_advantages: the same for the support episodes; None is as for the query. The
            inner step gains from a shorter horizon (less noise in few episodes), the outer
            step from a longer one (less bias).
        normalizer: standardizes what the policy sees, if given.
        device: where policies act.
        whole: sample on, where episodes end early, until a task's have B·T time steps, in at most
            `MOST_EPISODES` times B; those after the one that reaches it are not used, and not
            counted. Episodes then come padded to as many as the task with most of them has.
        deterministic: take each policy's likeliest action, and draw only the first states. For
            measuring alone: nothing is learned from actions that were not drawn.
    """

    def __init__(
        self,
        env: Any,
        policy: Policy,
        *,
        episodes: int,
        horizon: int,
        advantages: AdvantageConfig | None = None,
        support_advantages: AdvantageConfig | None = None,
        normalizer: Normalizer | None = None,
        device: torch.device | str = "cpu",
        whole: bool = False,
        deterministic: bool = False,
    ) -> None:
        if env.num_envs % episodes:
            raise ValueError(
                f"The environment runs {env.num_envs} copies, which {episodes} episodes per task "
                "do not divide. Make it with num_envs = tasks * episodes."
            )
        mode = env.metadata.get("autoreset_mode")
        if mode not in (AutoresetMode.DISABLED, AutoresetMode.SAME_STEP):
            raise ValueError(
                f"The environment's autoreset mode is {mode}: use SAME_STEP or DISABLED, since "
                "NEXT_STEP puts a dead step into every episode."
            )
        self.env, self.policy, self.device = env, policy, torch.device(device)
        self.tasks, self.episodes, self.horizon = env.num_envs // episodes, episodes, horizon
        inner = support_advantages or advantages
        self.advantages = {"support": inner, "hessian": inner, "query": advantages}
        self.normalizer, self.whole, self.deterministic = normalizer, whole, deterministic
        self.encode, self.observation_shape = encoder(env.single_observation_space)
        self._to_env = action_filter(env.single_action_space)

    @torch.no_grad()
    def __call__(
        self, params: Params, tasks: np.ndarray, key: Key, role: Role = "query", step: int = 0
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
            ValueError: the number of tasks is not N.

        Returns:
            Episodes with leaves [N, B, ...], on `device`; with `whole` there may be more than B,
            and rows of padding alone.
        """
        if len(tasks) != self.tasks:
            raise ValueError(
                f"Got {len(tasks)} tasks, but the environment is sized for "
                f"{self.tasks} ({self.env.num_envs} copies, {self.episodes} episodes)."
            )
        own = (1,) if role == "hessian" else ()
        rngs = [generator(*key[:-1], key[-1] + step, i, *own) for i in range(self.tasks)]
        params = tree.to(params, self.device)
        self.env.set_tasks(np.repeat(tasks, self.episodes, axis=0))
        with timer("rollouts"):
            recorded = self._sample(params, rngs, (*key[:-1], key[-1] + step), len(own))
        if self.normalizer is not None:
            self.normalizer.observe(recorded.observations, recorded.mask)
            recorded = recorded._replace(
                observations=self.normalizer(recorded.observations),
                final_observations=self.normalizer(recorded.final_observations),
            )
        config = self.advantages[role]
        if config is None:
            return recorded
        with timer("advantages"):
            chunk_size = None
            if self.device.type == "cpu":
                chunk_size = max(1, _STEPS_AT_ONCE // (self.episodes * self.horizon))
            return over_tasks(lambda task: estimate_advantages(task, config), chunk_size)(recorded)

    def _sample(
        self, params: Params, rngs: list[np.random.Generator], key: Key, own: int
    ) -> Episodes:
        """B episodes per task, or as many as `whole` wants."""
        more = np.full(self.tasks, self.episodes)
        rounds = [self._roll_out(params, more, rngs)]
        if not self.whole:
            return rounds[0]
        wanted, most = self.episodes * self.horizon, MOST_EPISODES * self.episodes
        while True:
            # An episode's steps, a diverged one's last included: it was an episode.
            steps = [part.mask.sum(-1) + part.diagnostics["diverged"].sum(-1) for part in rounds]
            steps = torch.cat(steps, 1).cpu()  # [N, episodes]
            taken, done = steps.sum(1).numpy(), (steps > 0).sum(1).numpy()
            # As many more as will do if they are as long as those so far.
            more = np.ceil((wanted - taken).clip(0) * done / taken.clip(1)).astype(int)
            more = np.minimum(more, np.minimum(self.episodes, most - done)).clip(0)
            if not more.any():
                break
            rngs = [generator(*key, i, own, len(rounds)) for i in range(self.tasks)]
            rounds.append(self._roll_out(params, more, rngs))
        used = (steps.cumsum(1) - steps < wanted) & (steps > 0)
        # Those that are used come first, in their order.
        order = (~used).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(used.sum(1).max())]

        def join(*parts: Tensor) -> Tensor:  # [N, B, ...] each
            shape = (*order.shape, *[1] * (parts[0].ndim - 2))
            rows, kept = (x.view(shape).to(parts[0].device) for x in (order, used.gather(1, order)))
            joined = torch.cat(parts, 1)
            return joined.gather(1, rows.expand(-1, -1, *joined.shape[2:])) * kept

        return tree.map(join, *rounds)

    def _roll_out(
        self, params: Params, more: np.ndarray, rngs: list[np.random.Generator]
    ) -> Episodes:
        """So many episodes of each task, [N], at most B, and padding up to B."""
        alive = (np.arange(self.episodes) < more[:, None]).ravel()
        seeds = [int(s) for rng in rngs for s in rng.integers(2**31, size=self.episodes)]
        # Others rest, where that is to be had, and are ignored where it is not.
        resting = self.env.metadata["autoreset_mode"] == AutoresetMode.DISABLED
        options = None if alive.all() or not resting else {"reset_mask": alive.copy()}
        first, _ = self.env.reset(seed=seeds, options=options)
        n, b, t_max, m = self.tasks, self.episodes, self.horizon, self.env.num_envs
        # Time comes first while sampling, so that each step writes one contiguous row.
        observations = torch.zeros(t_max, n, b, *self.observation_shape)
        rewards, mask = torch.zeros(t_max, n, b), torch.zeros(t_max, n, b)
        names = tuple(getattr(self.env, "diagnostics", ()))
        diagnostics = {name: torch.zeros(t_max, n, b) for name in (*names, "diverged")}
        rows = {name: value.numpy().reshape(t_max, m) for name, value in diagnostics.items()}
        reward_rows, mask_rows = rewards.numpy().reshape(t_max, m), mask.numpy().reshape(t_max, m)
        final = np.zeros((m, *self.observation_shape), np.float32)
        terminated = np.zeros(m, bool)
        same_step = self.env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP

        act = actor(self.policy, params)
        observed, noise = self.encode(first), None
        policies: list[Distribution] = []
        actions: list[Tensor] = []
        with one_thread():  # more would spin beside the simulator's and slow it down
            for t in range(t_max):
                observations[t].numpy().reshape(m, *self.observation_shape)[:] = observed
                seen = (
                    observations[t] if self.normalizer is None else self.normalizer(observations[t])
                )
                policies.append(act(seen.to(self.device)))
                if self.deterministic:
                    actions.append(policies[t].mode())
                else:
                    if noise is None:  # all of it ahead; its shape is the distribution's to say
                        drawn = [policies[0].noise(rng, (t_max, b)) for rng in rngs]
                        noise = torch.from_numpy(np.stack(drawn, 1)).to(self.device)
                    actions.append(policies[t].sample(noise[t]))
                if not torch.isfinite(actions[t].sum()):
                    bad = [i for i in range(n) if not torch.isfinite(actions[t][i]).all()]
                    raise FloatingPointError(
                        f"The policies of tasks {bad} drew actions that are not finite: their "
                        "parameters have blown up. Lower the inner step size or max_kl."
                    )
                step = self.env.step(self._to_env(actions[t].flatten(0, 1).cpu().numpy()))
                following, reward, terminations, truncations, info = step
                diverged = alive & (_reported(info, "diverged", m) > 0)
                valid = alive & ~diverged
                mask_rows[t], rows["diverged"][t] = valid, diverged
                reward_rows[t] = np.where(valid, reward, 0)
                for name in names:
                    rows[name][t] = np.where(valid, _reported(info, name, m), 0)
                observed = self.encode(following)
                ended = (terminations | truncations) & alive
                if ended.any():
                    if same_step:
                        final[ended] = self.encode(np.stack(list(info["final_obs"][ended])))
                    else:
                        final[ended] = observed[ended]
                    terminated |= terminations & ended
                    alive = alive & ~ended
                    if not alive.any():
                        break
        final[alive] = observed[alive]

        lived = stack(policies)  # fields [t, N, B, ...]
        acted = torch.stack(actions)
        log_probs = lived.log_prob(acted)

        def episodewise(x: Tensor) -> Tensor:  # [t <= T, N, B, ...] -> [N, B, T, ...]
            x = x.to(self.device)
            if len(x) < t_max:
                x = torch.cat([x, x.new_zeros(t_max - len(x), *x.shape[1:])])
            return x.permute(1, 2, 0, *range(3, x.ndim)).contiguous()

        mask = episodewise(mask)
        return Episodes(
            observations=episodewise(observations),
            actions=episodewise(acted),
            rewards=episodewise(rewards),
            log_probs=episodewise(log_probs) * mask,
            values=torch.zeros_like(mask),
            advantages=torch.zeros_like(mask),
            mask=mask,
            terminated=torch.from_numpy(terminated).view(n, b).to(mask),
            final_observations=torch.from_numpy(final).view(n, b, *self.observation_shape).to(mask),
            diagnostics={name: episodewise(value) for name, value in diagnostics.items()},
        )


def _reported(info: dict[str, Any], name: str, count: int) -> np.ndarray:
    """What the environment reports of the step just taken, [M]; 0 where it says nothing.

    With SAME_STEP, Gymnasium's own vector environments move the info of an episode's last step
    into `final_info`; for every key, `_key` says which copies have it.
    """
    values = np.zeros(count)
    every = np.ones(count, bool)
    final = info.get("final_info", {})
    for source, rows in ((info, every), (final, info.get("_final_info", every))):
        if name in source:
            values = np.where(rows & source.get(f"_{name}", every), source[name], values)
    return values.astype(float)
