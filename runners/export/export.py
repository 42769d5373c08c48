"""`rlmaml export`: an adapted policy for stable-baselines3, or as a program for plain torch.

From Python:

    learner = rlmaml.load(run)
    policy = learner.adapt(env)
    model = export_sb3(policy, env, "policy.zip")
    model.learn(100_000)
    export_torch(policy, "policy.pt2")
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import gymnasium
import torch
import tyro
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from rlmaml.errors import ConfigError
from rlmaml.learner import AdaptedPolicy, Learner
from rlmaml.sampling.tasks import attribute
from runners import formatting
from runners.environments import make_single, make_with_task, set_task, task_points
from runners.errors import require_at_least
from runners.export.ppo import PPOSettings, ppo_settings, to_sb3
from runners.export.torch_program import program
from runners.io import write_bytes
from runners.opening import opened
from runners.run_dir import RunDir
from runners.training.checkpoints import load_learner

Format = Literal["sb3", "torch"]
SUFFIX: dict[Format, str] = {"sb3": ".zip", "torch": ".pt2"}


@dataclass(frozen=True)
class Exported:
    """A policy that was written."""

    path: Path
    policy: str
    """The policy's iterations of meta-training, steps and episodes of the adaptation, and task."""
    settings: PPOSettings | None
    """Settings of a PPO model."""
    statistics: Path | None
    """The file of observation statistics beside a PPO model, where the run has any."""

    def __str__(self) -> str:
        if self.settings is None:
            return (
                f"{self.policy}\nWritten: {self.path}, a torch.export program; observations are "
                "[M, ...]."
            )
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [
            self.policy,
            f"Written: {self.path}, a stable-baselines3 PPO model ({settings}).",
        ]
        if self.statistics is not None:
            lines.append(
                f"Written: {self.statistics}, the observation statistics: let the model see its "
                "environment through VecNormalize.load(...) of it."
            )
        return "\n".join([*lines, "Its value network is untrained."])


def export(
    run: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path | None] = None,
    *,
    to: Format = "sb3",
    task: tuple[float, ...] = (),
    steps: int | None = None,
    episodes: int | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Exported:
    """Adapt what was meta-trained to one task, and write the policy for use elsewhere.

    Args:
        run: Run folder (of a run on episodes), or what else one is named by (NAME, hf://USER/NAME).
        out: File to write; in DIR/exports, named after the task, if not given.
        to: A PPO model of stable-baselines3 (.zip), or a torch.export program (.pt2).
        task: The task's numbers, such as a goal velocity; the policy before adaptation if not
            given.
        steps: Inner steps; as in training if not given.
        episodes: Episodes to play before each inner step; as in training if not given.
        seed: Draws the episodes, and the value network of a PPO model.
        checkpoint: Checkpoint folder, or `best`; the run's newest if not given.

    Raises:
        ConfigError: a run on examples, a task outside the task space, a path that exists or cannot
            be written, or a policy that the format cannot hold. Nothing is written then.
    """
    folder = opened(run)
    config = folder.read_config()
    if config.data == "examples":
        raise ConfigError(
            f"{run} learned from labeled examples; what is exported is a policy: "
            "name a run on episodes."
        )
    require_at_least(0, steps=steps, seed=seed)
    require_at_least(1, episodes=episodes)
    if not task and (steps or episodes):
        raise ConfigError("--steps and --episodes adapt to a task: name it by --task.")
    learner = load_learner(folder, checkpoint)
    steps = (config.inner.steps if steps is None else steps) if task else 0
    episodes = (episodes or config.episodes) if steps else 1
    path = _free_path(out or _default_path(folder, task, steps, to), to)  # before time is spent
    env = make_single(config)
    try:
        make = partial(make_single, config)
        if task:
            point = _point(env, task)
            set_task(env, point)
            make = partial(make_with_task, config, point)
        policy = _adapt(learner, make, steps, episodes, seed)
        name = _name(learner, task, steps, episodes)
        if to == "torch":
            export_torch(policy, path)
            return Exported(path, name, None, None)
        torch.manual_seed(seed)  # of the value network
        settings = ppo_settings(config)
        model = export_sb3(policy, env, path, **settings)
        standardizes = model.get_vec_normalize_env() is not None
        return Exported(path, name, settings, statistics(path) if standardizes else None)
    finally:
        env.close()


def export_sb3(
    policy: AdaptedPolicy,
    env: gymnasium.Env | VectorEnv | VecEnv,
    path: str | Path,
    **hyperparameters: object,
) -> PPO:
    """Write the PPO model of `to_sb3` to `path` (.zip) for `PPO.load`.

    Where the policy standardizes vectors, also writes `statistics(path)`, to be loaded by
    `VecNormalize.load` around the environment that `PPO.load`'s model acts in.

    Raises:
        ConfigError: see `to_sb3`; or a path that exists or cannot be written.
    """
    path = _free_path(path, "sb3")
    model = to_sb3(policy, env, **hyperparameters)
    _make_folder(path)
    if (standardized := model.get_vec_normalize_env()) is not None:
        standardized.save(str(statistics(path)))
    model.save(path)
    return model


def statistics(path: str | Path) -> Path:
    """Path of an exported model's observation statistics: policy-vecnormalize.pkl."""
    path = Path(path)
    return path.with_name(f"{path.stem}-vecnormalize.pkl")


def export_torch(policy: AdaptedPolicy, path: str | Path) -> torch.export.ExportedProgram:
    """Write the policy as a `torch.export` program (.pt2), which needs nothing but torch.

    `torch.export.load(path).module()` takes observations [M, D] for any M and returns what
    `runners.export.torch_program.TorchPolicy.forward` does.

    Raises:
        ConfigError: a policy of several networks, or a path that exists or cannot be written.
    """
    path = _free_path(path, "torch")
    exported = program(policy)
    _make_folder(path)
    content = io.BytesIO()  # torch itself opens no file whose name is not UTF-8
    torch.export.save(exported, content)
    write_bytes(path, content.getvalue())
    return exported


def _point(env: gymnasium.Env, task: tuple[float, ...]) -> Any:
    """The task of these numbers."""
    space = attribute(env, "task_space")
    points = task_points(space, task)
    if len(points) > 1:
        raise ConfigError(f"--task takes one point of {space}; got {len(points)}.")
    return points[0]


def _adapt(
    learner: Learner, make: Callable[[], gymnasium.Env], steps: int, episodes: int, seed: int
) -> AdaptedPolicy:
    try:
        return learner.adapt(make, steps=steps, episodes=episodes, seed=seed)
    except (ValueError, TypeError) as problem:
        raise ConfigError(f"Cannot adapt to the task: {problem}") from problem


def _name(learner: Learner, task: tuple[float, ...], steps: int, episodes: int) -> str:
    name = f"the policy as meta-learned in {learner.iteration} iterations"
    if not task:
        return name
    numbers = " ".join(f"{number:g}" for number in task[:8]) + " ..." * (len(task) > 8)
    return f"{name}, after {formatting.steps(steps)} on {episodes} episodes of task {numbers}"


def _default_path(folder: RunDir, task: tuple[float, ...], steps: int, to: Format) -> Path:
    numbers = "_".join(f"{number:g}" for number in task)[:100]  # a table has many
    name = f"task-{numbers}-steps-{steps}" if task else "meta"
    return folder.path / "exports" / f"{name}{SUFFIX[to]}"


def _free_path(path: str | Path, to: Format) -> Path:
    """The path with the format's suffix.

    Raises:
        ConfigError: another suffix, or a file that exists.
    """
    path = Path(path)
    if not path.suffix:
        path = path.with_suffix(SUFFIX[to])
    if path.suffix != SUFFIX[to]:
        raise ConfigError(f"A file for {to} ends in {SUFFIX[to]}, got {path}.")
    for file in (path, statistics(path)) if to == "sb3" else (path,):
        if file.exists():
            raise ConfigError(f"{file} exists already: remove it, or name another file.")
    return path


def _make_folder(path: Path) -> None:
    """Make the folder that a file will be in.

    Raises:
        ConfigError: a folder that cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(f"Cannot write {path}: {problem.strerror}.") from problem
