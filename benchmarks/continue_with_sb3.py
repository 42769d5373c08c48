"""Go on from a meta-learned policy with stable-baselines3's PPO, and compare with scratch.

    python -m benchmarks.continue_with_sb3 runs/half-cheetah-vel --goal 1.5

Starts on one task never trained on, with the same network, PPO settings and env steps:

- adapted: the meta-learned policy after the run's inner steps, whose episodes count as env steps;
- meta-learned: the policy before adaptation;
- scratch: stable-baselines3's own initialization;
- and, with --warm-up, the first once more: the value network, which no export brings along, learns
  alone from that many env steps, which count, before the policy moves.

--normalize rewards, or all, puts stable-baselines3's `VecNormalize` around the environment of every
start. With all, a meta-learned policy takes the statistics of its adaptation episodes (which count
as env steps for the policy before adaptation, too), and its first layer is rewritten for them.

Writes results.json and returns.png. Returns are of episodes that are not learned from, with
likeliest actions ("deterministic") and with drawn ones ("stochastic"), as `rlmaml evaluate` does.
"""

from __future__ import annotations

import argparse
import copy
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize
from torch import Tensor

import rlmaml
from rlmaml.config import TrainConfig
from rlmaml.learner import AdaptedPolicy, Learner
from rlmaml.sampling.normalizer import Normalizer
from runners.export.ppo import ppo_settings, to_sb3
from runners.export.sb3 import BatchedVecEnv
from runners.io import versions, write_json

TABLE = (0, 24_000, 48_000, 100_000, 200_000)
KINDS = ("deterministic", "stochastic")


def make(config: TrainConfig, copies: int, goal: float) -> VecMonitor:
    """Copies of the run's environment with the goal for a task."""
    env = gymnasium.make_vec(
        f"envs:{config.env.id}",
        num_envs=copies,
        vectorization_mode="vector_entry_point",
        max_episode_steps=config.horizon,
        **config.env.kwargs,
    )
    return VecMonitor(BatchedVecEnv(env, [goal]))


def measure(model: PPO, env: VecMonitor, seed: int) -> dict[str, float]:
    """Mean return of an episode in each copy, from the same first states every time."""
    seen: VecEnv = env
    if (normalized := model.get_vec_normalize_env()) is not None:
        seen = VecNormalize(env, training=False, norm_obs=normalized.norm_obs, norm_reward=False)
        if normalized.norm_obs:
            seen.obs_rms = normalized.obs_rms
    returns = {}
    for kind in KINDS:
        env.seed(seed)
        likeliest = kind == "deterministic"
        # VecMonitor tells the rewards as they are.
        returns[kind] = float(
            evaluate_policy(model, seen, env.num_envs, deterministic=likeliest)[0]
        )
    return returns


class Curve(BaseCallback):
    """Measures before every `every` env steps; the policy's weights rest for `warm_up` of them."""

    def __init__(self, env: VecMonitor, every: int, warm_up: int, spent: int) -> None:
        super().__init__()
        self.env, self.every, self.warm_up, self.spent = env, every, warm_up, spent
        self.points: list[dict[str, float]] = []
        self._due = 0

    def _on_rollout_start(self) -> None:
        policy = self.model.policy
        weights = [*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters()]
        for weight in [*weights, policy.log_std]:
            weight.requires_grad_(self.num_timesteps >= self.warm_up)
        if self.num_timesteps >= self._due:
            self.add()

    def add(self) -> None:
        """Measure now."""
        std = self.model.policy.log_std.detach().exp().mean().item()
        point = {"env_steps": self.spent + self.num_timesteps, "std": std}
        self.points.append(point | measure(self.model, self.env, seed=1_000_000))
        self._due += self.every

    def _on_step(self) -> bool:
        return True


def start(
    name: str,
    learner: Learner,
    config: TrainConfig,
    goal: float,
    env: VecEnv,
    seed: int,
    normalize: str,
    ppo: dict[str, Any],
) -> tuple[PPO, int]:
    """A model to go on with, and the env steps that it has cost so far on this task."""
    if name.startswith("scratch"):
        hidden = list(config.policy.hidden)
        activation = rlmaml.models.ACTIVATIONS[config.policy.activation]
        shape = {"net_arch": {"pi": hidden, "vf": hidden}, "activation_fn": activation}
        if normalize != "nothing":
            env = VecNormalize(env, gamma=ppo["gamma"], norm_obs=normalize == "all")
        return PPO("MlpPolicy", env, policy_kwargs=shape, seed=seed, device="cpu", **ppo), 0
    steps = config.inner.steps if name.startswith("adapted") else 0
    copies = make(config, config.episodes, goal).venv.env
    policy = learner.adapt(copies, steps=steps, seed=seed)
    if normalize != "nothing":
        env = VecNormalize(env, gamma=ppo["gamma"], norm_obs=False)
    if normalize == "all":
        steps = config.inner.steps
        seen = learner.adapt(copies, steps=steps, seed=seed).episodes[0]
        policy = standardized(policy, seen.observations, seen.mask)
    return to_sb3(policy, env, seed=seed, **ppo), steps * config.episodes * config.horizon


def standardized(policy: AdaptedPolicy, observations: Tensor, mask: Tensor) -> AdaptedPolicy:
    """The same policy as a function of standardized observations, with the statistics given."""
    normalizer = Normalizer(tuple(observations.shape[2:]))
    normalizer.observe(observations, mask)
    normalizer.commit()
    module = copy.deepcopy(policy.module)
    first = module.mean[0]
    first.bias += first.weight @ normalizer.mean.float()
    first.weight *= (normalizer.variance + 1e-8).sqrt().float()
    return AdaptedPolicy(module, policy.observation_space, policy.action_space, normalizer)


def at(points: list[dict[str, float]], env_steps: int, kind: str) -> float | None:
    """The last measurement when no more than `env_steps` were spent; the first one if none."""
    if env_steps > points[-1]["env_steps"] and env_steps != TABLE[0]:
        return None
    return [p for p in points if p["env_steps"] <= max(env_steps, points[0]["env_steps"])][-1][kind]


def table(curves: dict[str, list[list[dict[str, float]]]], kind: str) -> str:
    """Mean over seeds, and each seed's, of every start, as Markdown."""
    heads = (f"{n // 1000}k" if n else "start" for n in TABLE)
    lines = [f"| {kind} | " + " | ".join(heads) + " |"]
    lines.append("|---" * (len(TABLE) + 1) + "|")
    for name, seeds in curves.items():
        cells = []
        for env_steps in TABLE:
            values = [v for v in (at(points, env_steps, kind) for points in seeds) if v is not None]
            each = ", ".join(f"{v:.0f}" for v in values)
            cells.append(f"{np.mean(values):.0f} ({each})" if values else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(curves: dict[str, list[list[dict[str, float]]]], path: Path, title: str) -> None:
    """Return against env steps: mean over seeds, and their range."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    colors = {"adapted": "#1f6f8b", "meta-learned": "#b0602c", "scratch": "0.4"}
    for axes, kind in zip(both, KINDS, strict=True):
        for name, seeds in curves.items():
            start_, plus, _ = name.partition(" +")
            x = np.array([p["env_steps"] for p in seeds[0]]) / 1000
            y = np.array([[p[kind] for p in points] for points in seeds])
            color, style = colors[start_], "--" if plus else "-"
            axes.plot(x, y.mean(0), style, color=color, label=name)
            axes.fill_between(x, y.min(0), y.max(0), color=color, alpha=0.12, linewidth=0)
        axes.set(xlabel="environment steps on the task (thousands)", title=f"{kind} actions")
    both[0].set_ylabel("return per episode")
    both[0].legend(frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder of half-cheetah-vel")
    parser.add_argument("--goal", type=float, default=1.5, help="goal velocity, m/s (1.5)")
    parser.add_argument("--env-steps", type=int, default=200_000, help="to learn from (200000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(0 1 2)")
    parser.add_argument("--starts", nargs="+", default=["adapted", "meta-learned", "scratch"])
    parser.add_argument("--warm-up", type=int, default=0, help="env steps of a value warm-up (0)")
    parser.add_argument("--normalize", choices=["nothing", "rewards", "all"], default="nothing")
    parser.add_argument("--copies", type=int, default=5, help="environments at once (5)")
    parser.add_argument("--n-steps", type=int, help="of each between updates (one episode)")
    parser.add_argument("--batch-size", type=int, help="env steps in a minibatch")
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="of Adam (0.0003)")
    parser.add_argument("--epochs", type=int, default=10, help="over each rollout (10)")
    parser.add_argument("--clip-range", type=float, default=0.2, help="of the ratio (0.2)")
    parser.add_argument("--every", type=int, default=4000, help="env steps a measurement (4000)")
    parser.add_argument("--episodes", type=int, default=20, help="in a measurement (20)")
    parser.add_argument("--out", type=Path, default=Path("sb3-results"), help="(sb3-results)")
    options = parser.parse_args()

    torch.set_num_threads(1)  # the matrices are too small for more
    learner = rlmaml.load(options.run)
    config = learner.config
    ppo: dict[str, Any] = ppo_settings(config, options.copies) | {
        "learning_rate": options.learning_rate,
        "n_epochs": options.epochs,
        "clip_range": options.clip_range,
    }
    for name in ("n_steps", "batch_size"):
        if getattr(options, name) is not None:
            ppo[name] = getattr(options, name)
    evaluation = make(config, options.episodes, options.goal)
    names = list(options.starts)
    if options.warm_up:
        names.append("adapted + warm-up")
    curves: dict[str, list[list[dict[str, float]]]] = {name: [] for name in names}
    for seed in options.seeds:
        for name in names:
            began = time.perf_counter()
            venv = make(config, options.copies, options.goal)
            model, spent = start(
                name, learner, config, options.goal, venv, seed, options.normalize, ppo
            )
            curve = Curve(
                evaluation, options.every, options.warm_up if "warm-up" in name else 0, spent
            )
            model.learn(options.env_steps - spent, callback=curve)
            curve.add()
            curves[name].append(curve.points)
            first, last = curve.points[0], curve.points[-1]
            print(
                f"{name}, seed {seed}: {first['stochastic']:.1f} -> {last['stochastic']:.1f} "
                f"({first['deterministic']:.1f} -> {last['deterministic']:.1f} deterministic), "
                f"{time.perf_counter() - began:.0f} s",
                flush=True,
            )
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.continue_with_sb3", *sys.argv[1:]]),
        "run": {"preset": config.preset, "seed": config.seed, "iteration": learner.iteration},
        "goal": options.goal,
        "seeds": options.seeds,
        "copies": options.copies,
        "ppo": ppo,
        "warm_up": options.warm_up,
        "normalize": options.normalize,
        "episodes": options.episodes,
        "versions": versions(),
        "curves": curves,
    }
    write_json(options.out / "results.json", result)
    draw(curves, options.out / "returns.png", f"{config.preset}, goal {options.goal:g} m/s")
    for kind in KINDS:
        print(table(curves, kind), end="\n\n")
    print(f"Written: {options.out}/results.json, {options.out}/returns.png")


if __name__ == "__main__":
    main()
