"""Hand an adapted policy over: to stable-baselines3, or as a program for plain torch.

From Python:

    learner = rlmaml.load(run)
    policy = learner.adapt(env)
    model = export_sb3(policy, env, "policy.zip")
    model.learn(100_000)
    export_torch(policy, "policy.pt2")
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import gymnasium
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from rlmaml.errors import ConfigError
from rlmaml.learner import AdaptedPolicy
from rlmaml.models.mlp import CategoricalMLP, GaussianMLP
from rlmaml.sampling.normalizer import Normalizer
from runners import formatting
from runners.config import TrainConfig
from runners.environments import make_single, set_task, task_points
from runners.errors import require_at_least
from runners.export.sb3 import as_vec_env
from runners.export.torch_program import program
from runners.run_dir import RunDir
from runners.training.checkpoints import load

SUFFIX = {"sb3": ".zip", "torch": ".pt2"}


def to_sb3(
    policy: AdaptedPolicy, env: gymnasium.Env | VectorEnv | VecEnv, **hyperparameters: Any
) -> PPO:
    """The policy as a PPO model on `env`, with a value network that knows nothing yet.

    With deterministic=True it predicts what the policy does. Where the policy standardizes vectors,
    the model's environment is a `VecNormalize` with the same statistics, frozen; of Discrete
    observations they go into the first layer's weights instead.

    Args:
        policy: what `rlmaml.load(run).adapt(env)` returned.
        env: what to go on learning in: one environment, a batched one in SAME_STEP mode, or a
            `VecEnv`.
        hyperparameters: of PPO; see `ppo_settings`. stable-baselines3's defaults otherwise.

    Raises:
        ConfigError: the environment has other spaces than the policy, or spaces that
            stable-baselines3 cannot handle.
    """
    _check_spaces(policy)
    network = _layers(policy)
    venv = as_vec_env(env)
    for name in ("observation_space", "action_space"):
        ours, theirs = getattr(policy, name), getattr(venv, name)
        if ours != theirs:
            raise ConfigError(f"The policy's {name} is {ours}, but the environment's is {theirs}.")
    normalizer = policy.normalizer
    if normalizer is not None and isinstance(policy.observation_space, spaces.Box):
        venv = _standardized(venv, normalizer)
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    hidden = [layer.out_features for layer in linear[:-1]]
    shape: dict[str, Any] = {"net_arch": {"pi": hidden, "vf": hidden}}
    if hidden:
        shape["activation_fn"] = type(network[1])
    own = hyperparameters.pop("policy_kwargs", {})
    model = PPO(
        "MlpPolicy", venv, policy_kwargs=shape | own, **{"device": "cpu", **hyperparameters}
    )
    theirs: Any = model.policy
    copies = [layer for layer in theirs.mlp_extractor.policy_net if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for source, copy in zip(linear, [*copies, theirs.action_net], strict=True):
            copy.weight.copy_(source.weight)
            copy.bias.copy_(source.bias)
        if normalizer is not None and isinstance(policy.observation_space, spaces.Discrete):
            first = [*copies, theirs.action_net][0]
            seen = normalizer(torch.eye(linear[0].in_features))  # row i: what the policy sees of i
            first.weight.copy_(linear[0].weight @ seen.T)
        if isinstance(policy.module, GaussianMLP):
            theirs.log_std.copy_(policy.module.log_std.clamp(min=policy.module.min_log_std))
    return model


def export_sb3(
    policy: AdaptedPolicy,
    env: gymnasium.Env | VectorEnv | VecEnv,
    path: str | Path,
    **hyperparameters: Any,
) -> PPO:
    """`to_sb3`, written to `path` (.zip) for `PPO.load`.

    Where the policy standardizes vectors, also writes `statistics(path)`, to be loaded by
    `VecNormalize.load` around the environment that `PPO.load`'s model acts in.

    Raises:
        ConfigError: see `to_sb3`; or there is something at the path already.
    """
    path = _place(path, "sb3")
    model = to_sb3(policy, env, **hyperparameters)
    if (standardized := model.get_vec_normalize_env()) is not None:
        standardized.save(str(_place(statistics(path), None)))
    model.save(path)
    return model


def statistics(path: str | Path) -> Path:
    """Where the observation statistics of an exported model are: policy-vecnormalize.pkl."""
    path = Path(path)
    return path.with_name(f"{path.stem}-vecnormalize.pkl")


def ppo_settings(config: TrainConfig, copies: int = 1) -> dict[str, Any]:
    """PPO's settings to go on with after a run: its discount, and rollouts of whole episodes.

    Discount and λ are those of the outer advantages. The rollout is stable-baselines3's default
    of 2048 env steps, rounded to a multiple of the horizon in each of M copies; the size of a
    minibatch is what divides it and is nearest to the default, 64.

    Args:
        config: the run's.
        copies: M, environments that will be stepped at once.
    """
    n_steps = config.horizon * max(1, round(2048 / (config.horizon * copies)))
    total = n_steps * copies
    sizes = [size for size in range(32, 129) if total % size == 0]
    return {
        "gamma": config.outer_advantages.discount,
        "gae_lambda": config.outer_advantages.gae_lambda,
        "n_steps": n_steps,
        "batch_size": min(sizes, key=lambda size: abs(math.log(size / 64)), default=64),
    }


def export_torch(policy: AdaptedPolicy, path: str | Path) -> torch.export.ExportedProgram:
    """Write the policy as a `torch.export` program (.pt2), which needs nothing but torch.

    `torch.export.load(path).module()` takes observations [M, D] for any M and returns what
    `runners.program.TorchPolicy.forward` does.

    Raises:
        ConfigError: there is something at the path already.
    """
    path = _place(path, "torch")
    exported = program(policy)
    torch.export.save(exported, path)
    return exported


def export(
    folder: RunDir,
    out: Path | None = None,
    *,
    to: Literal["sb3", "torch"] = "sb3",
    task: tuple[float, ...] = (),
    steps: int | None = None,
    episodes: int | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> str:
    """Adapt a run's policy to a task and write it: what `rlmaml export` does.

    Args:
        folder: the run.
        out: the file to write; in the run's `exports/`, named after the task, if None.
        to: a stable-baselines3 PPO model, or a `torch.export` program.
        task: the numbers of a point of the task space; none for the policy before adaptation.
        steps: inner steps; as in training if None.
        episodes: to play before each; as in training if None.
        seed: of all that is drawn.
        checkpoint: which checkpoint: its folder, or `best`; the newest if None.

    Returns:
        What was written, in words.

    Raises:
        ConfigError: no such run, task or place; or a run on examples.
    """
    config = folder.read_config()
    if config.data == "examples":
        raise ConfigError(
            f"{folder.path} learned from labeled examples; what is exported is a policy: "
            "name a run on episodes."
        )
    require_at_least(0, steps=steps, seed=seed)
    require_at_least(1, episodes=episodes)
    if not task and (steps or episodes):
        raise ConfigError("--steps and --episodes adapt to a task: name it by --task.")
    learner = load(folder, checkpoint)
    steps = (config.inner.steps if steps is None else steps) if task else 0
    if out is None:
        numbers = "_".join(f"{number:g}" for number in task)[:100]  # a table is many
        name = f"task-{numbers}-steps-{steps}" if task else "meta"
        out = folder.path / "exports" / f"{name}{SUFFIX[to]}"
    out = _place(out, to)  # before the time is spent
    env = make_single(config)
    world: Any = env.unwrapped
    if task:
        points = task_points(world.task_space, task)
        if len(points) > 1:
            raise ConfigError(f"--task takes one point of {world.task_space}; got {len(points)}.")
        set_task(env, points[0])
    episodes = (episodes or config.episodes) if steps else 1
    try:
        policy = learner.adapt(env, steps=steps, episodes=episodes, seed=seed)
    except (ValueError, TypeError) as problem:
        raise ConfigError(str(problem)) from problem
    what = f"the policy as meta-learned in {learner.iteration} iterations"
    if task:
        numbers = " ".join(f"{number:g}" for number in task[:8]) + " ..." * (len(task) > 8)
        what += f", after {formatting.steps(steps)} on {episodes} episodes of task {numbers}"
    if to == "torch":
        export_torch(policy, out)
        return f"{what}\nWritten: {out}, a torch.export program; observations are [M, ...]."
    torch.manual_seed(seed)  # of the value network
    settings = ppo_settings(config)
    model = export_sb3(policy, env, out, **settings)
    said = ", ".join(f"{name} {value}" for name, value in settings.items())
    lines = [what, f"Written: {out}, a stable-baselines3 PPO model ({said})."]
    if model.get_vec_normalize_env() is not None:
        lines.append(
            f"Written: {statistics(out)}, the observation statistics: let the model see its "
            "environment through VecNormalize.load(...) of it."
        )
    return "\n".join([*lines, "Its value network is untrained."])


def _layers(policy: AdaptedPolicy) -> nn.Sequential:
    module = policy.module
    if isinstance(module, GaussianMLP):
        return module.mean
    if isinstance(module, CategoricalMLP):
        return module.logits
    raise ConfigError(
        f"Only GaussianMLP and CategoricalMLP go into stable-baselines3, not "
        f"{type(module).__name__}: use export_torch."
    )


def _check_spaces(policy: AdaptedPolicy) -> None:
    for space in (policy.observation_space, policy.action_space):
        if isinstance(space, spaces.Discrete) and space.start:
            raise ConfigError(
                f"stable-baselines3 counts from 0, but there is a {space}: wrap the environment, "
                "or export to torch."
            )
    acted = policy.action_space
    if isinstance(acted, spaces.Box) and not acted.is_bounded():
        raise ConfigError(
            f"stable-baselines3 needs bounded actions, but there is {acted}: wrap the environment "
            "in gymnasium.wrappers.ClipAction or RescaleAction, or export to torch."
        )


def _standardized(venv: VecEnv, normalizer: Normalizer) -> VecNormalize:
    """`Normalizer` in stable-baselines3's terms: its statistics, ε and bounds, frozen."""
    wrapped = VecNormalize(venv, training=False, norm_reward=False, clip_obs=10.0, epsilon=1e-8)
    moments = RunningMeanStd(shape=tuple(normalizer.mean.shape))
    moments.mean, moments.var = normalizer.mean.numpy().copy(), normalizer.variance.numpy().copy()
    moments.count = float(normalizer.count)
    wrapped.obs_rms = moments
    return wrapped


def _place(path: str | Path, to: Literal["sb3", "torch"] | None) -> Path:
    """A path with the suffix that belongs to it, in a folder, where there is nothing yet."""
    path = Path(path)
    if to is not None:
        if not path.suffix:
            path = path.with_suffix(SUFFIX[to])
        if path.suffix != SUFFIX[to]:
            raise ConfigError(f"A file for {to} ends in {SUFFIX[to]}, got {path}.")
        if to == "sb3":
            _place(statistics(path), None)
    if path.exists():
        raise ConfigError(f"{path} exists already: remove it, or name another file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(f"Cannot write {path}: {problem.strerror}.") from problem
    return path
