"""Adapt a meta-learned policy to a task, then go on with stable-baselines3's PPO.

    python examples/continue_with_sb3.py                   # meta-trains a little first
    python examples/continue_with_sb3.py --run runs/vel    # a run of half-cheetah-vel

Whether that is worth it is measured by benchmarks/continue_with_sb3.py.
"""

from __future__ import annotations

from pathlib import Path

import tyro
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import rlmaml
from runners.environments import make_single
from runners.export.export import export_sb3
from runners.export.ppo import ppo_settings
from runners.presets import PRESETS
from runners.training.train import train


def main(
    run: Path | None = None,
    goal: float = 1.5,
    env_steps: int = 4000,
    out: Path = Path("runs/example-sb3"),
) -> None:
    """Write PPO models of the policy after adaptation, and after more learning by PPO.

    Args:
        run: Run folder of half-cheetah-vel; one is made in OUT/run if not given.
        goal: Goal velocity, m/s.
        env_steps: Environment steps that PPO learns from.
        out: Folder of the models.
    """
    if run is None:
        _, config = PRESETS["half-cheetah-vel"]
        small = {"iterations": 3, "tasks": 5, "episodes": 5}
        run = train(config.changed(small), out / "run").path

    # Adapt to the goal, in an environment that has it.
    learner = rlmaml.load(run)
    config = learner.config
    env = Monitor(make_single(config))
    env.get_wrapper_attr("set_task")([goal])
    policy = learner.adapt(env)

    # The policy as a PPO model, written for PPO.load too. Its value network is untrained.
    model = export_sb3(policy, env, out / "adapted.zip", **ppo_settings(config), seed=0)
    print(f"return after adaptation: {evaluate_policy(model, env, 5)[0]:.1f}")
    model.learn(env_steps)
    print(f"return after PPO: {evaluate_policy(model, env, 5)[0]:.1f}")
    model.save(out / "learned.zip")


if __name__ == "__main__":
    tyro.cli(main)
