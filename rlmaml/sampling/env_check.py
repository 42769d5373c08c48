"""A reset and a few steps before a run begins, so that mistakes are named where they are made."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector.utils import batch_space

from rlmaml.errors import ConfigError
from rlmaml.rng import generator, global_generators_kept
from rlmaml.sampling.faults import env_name, require_finite_tasks
from rlmaml.sampling.tasks import diagnostics, layers

STEPS = 3
"""Steps that are looked at."""

RESET = "(observation, info)"
STEP = "(observation, reward, terminated, truncated, info)"


class _Mistake(Exception):
    """A sentence on what a method did."""


class PlainNumbers(gymnasium.Wrapper):
    """Takes rewards and flags of shape (1,) for numbers, as people return them.

    The last observation of an episode is a copy: many write their state in place, and vector
    environments reset them before it is looked at.
    """

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        terminated, truncated = plain(terminated), plain(truncated)
        if terminated or truncated:
            observation = copy.deepcopy(observation)
        return observation, plain(reward), terminated, truncated, info


def plain(value: Any) -> Any:
    """A number out of an array or a list that holds that alone; anything else as it is."""
    if isinstance(value, list) and len(value) == 1:
        return plain(value[0])
    if getattr(value, "shape", ()) and np.size(np.asarray(value)) == 1:
        return np.asarray(value).item()
    return value


def check_env(
    env: gymnasium.Env, draw: Callable[[int, np.random.Generator], Any] | None = None
) -> None:
    """Reset an environment, and take a few steps in it.

    All generators are put back as they were, the environment's own too.

    Args:
        env: with `task`, which can be set.
        draw: draws tasks (n, rng), of which one is set; None sets none. Where it raises nothing is
            looked at: whoever needs tasks says what is wrong with them.

    Raises:
        ConfigError: a method that raises, or returns something else than it should.
    """
    with generators_kept(env.unwrapped):
        try:
            tasks = [None] if draw is None else draw(1, generator(0))
            task = tasks[0]
        except Exception:
            return
        problem = _found(env, task)
        if problem is None:
            return
        where = type(env.unwrapped).__name__
        _, *inner = layers(env)
        for layer in reversed(inner):  # the innermost that is wrong is at fault
            own = _found(layer, None)
            if own is not None:
                problem, where = own, type(layer).__name__
                break
    name = env_name(env)
    raise ConfigError(f"{name}{f' ({where})' * (where != name)}: {problem}") from None


def check_vector_env(env: Any, tasks: Any = None) -> None:
    """Reset an environment that batches its copies by itself, and take a step in it.

    Args:
        env: with `num_envs` and `set_tasks`.
        tasks: to set, one for each copy; None is none.

    Raises:
        ConfigError: a method that raises, or returns something else than it should.
        EnvironmentFault: tasks that are not finite.
    """
    space, count = env.single_observation_space, env.num_envs
    try:
        with generators_kept(env):
            if tasks is not None:
                require_finite_tasks(tasks, env)
                _call("set_tasks", env.set_tasks, tasks)
            reset = _call("reset", env.reset, seed=list(range(count)), options=None)
            observations, _ = _pair(reset)
            _check_batch(space, observations, count, "reset")
            actions = _batch_of_actions(env)
            if actions is None:
                return
            observations, *numbers, info = _five(_call("step", env.step, actions))
            _check_batch(space, observations, count, "step")
            for what, values in zip(
                ("rewards", "terminations", "truncations"), numbers, strict=True
            ):
                shape, kind = np.shape(values), np.asarray(values).dtype.kind
                if shape != (count,) or kind not in "biuf":
                    raise _Mistake(
                        f"`step` returned {what} of shape {shape} ({np.asarray(values).dtype}) for "
                        f"{count} copies: return a number for each, ({count},)."
                    )
            _check_info(info, "step")
    except _Mistake as problem:
        raise ConfigError(f"{env_name(env)} (the batched version): {problem}") from None


def _found(env: gymnasium.Env, task: Any) -> str | None:
    """What is wrong with an environment's reset or step; None if nothing is."""
    try:
        for name in ("observation_space", "action_space"):
            space = _call(name, getattr, env, name)
            if not isinstance(space, gymnasium.Space):
                raise _Mistake(
                    f"`{name}` is {_described(space)}: let `__init__` make it a space of "
                    "gymnasium.spaces."
                )
        if task is not None:
            _call("set_task", setattr, env, "task", task)
        _reset(env)
        if not _can_act(env.action_space):  # which whoever makes a policy says better
            return None
        actions = _actions(env.action_space)
        for t in range(1, STEPS + 1):
            observation, reward, *flags, info = _five(_call("step", env.step, actions()))
            _check_point(env.observation_space, observation, "step", t)
            _check_reward(reward, t)
            for name, flag in zip(("terminated", "truncated"), flags, strict=True):
                _check_flag(name, flag)
            _check_info(info, "step")
            _check_diagnostics(env, info)
            if plain(flags[0]) or plain(flags[1]):
                _reset(env)
        if task is not None:  # as between the steps of an update
            _call("set_task", setattr, env, "task", task)
    except _Mistake as problem:
        return str(problem)
    return None


def _reset(env: gymnasium.Env) -> None:
    observation, info = _pair(_call("reset", env.reset, seed=0, options=None))
    _check_point(env.observation_space, observation, "reset", 0)
    _check_info(info, "reset")


def _call(name: str, method: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Call an environment's method.

    Raises:
        _Mistake: whatever it raised, in a sentence.
    """
    try:
        return method(*given, **named)
    except (ConfigError, _Mistake):
        raise
    except (Exception, SystemExit) as problem:
        if isinstance(problem, TypeError) and not _takes(method, named):
            raise _Mistake(
                "`reset` does not take `seed` and `options`, which gymnasium hands over: begin it "
                "with def reset(self, *, seed=None, options=None) and super().reset(seed=seed)."
            ) from problem
        words = " ".join(str(problem).split())
        raise _Mistake(f"`{name}` raised {type(problem).__name__}: {words}") from problem


def _takes(method: Callable[..., Any], named: Mapping[str, Any]) -> bool:
    """True if a method takes arguments of these names, as far as it tells."""
    owner = getattr(method, "__self__", None)
    while isinstance(owner, gymnasium.Wrapper):  # wrappers pass them on
        if not _accepts(owner.reset, named):
            return False
        owner = owner.env
    return _accepts(getattr(owner, "reset", method), named)


def _accepts(method: Callable[..., Any], named: Mapping[str, Any]) -> bool:
    parameters = inspect.signature(method).parameters
    anything = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return anything or set(named) <= set(parameters)


def _pair(returned: Any) -> tuple[Any, Any]:
    if not (isinstance(returned, tuple | list) and len(returned) == 2):
        raise _Mistake(
            f"`reset` returned {_described(returned)}, as gym did before 0.26, perhaps: return "
            f"{RESET}."
        )
    return returned[0], returned[1]


def _five(returned: Any) -> tuple[Any, Any, Any, Any, Any]:
    if not (isinstance(returned, tuple | list) and len(returned) == 5):
        old = isinstance(returned, tuple | list) and len(returned) == 4
        raise _Mistake(
            f"`step` returned {_described(returned)}{', as gym did before 0.26' * old}: return "
            f"{STEP}."
        )
    return tuple(returned)  # pyright: ignore[reportReturnType]


def _check_info(info: Any, method: str) -> None:
    if not isinstance(info, Mapping):
        form = RESET if method == "reset" else STEP
        raise _Mistake(
            f"`{method}` returned {_described(info)} for info: return a dictionary, {{}} if there "
            f"is nothing to say, last in {form}."
        )


def _check_reward(reward: Any, t: int) -> None:
    value = _number(reward)
    if value is None:
        raise _Mistake(f"`step` returned {_described(reward)} for the reward: return one number.")
    if not np.isfinite(value):
        raise _Mistake(f"`step` returned a reward that is not finite ({value:g}){_when(t)}.")


def _check_flag(name: str, flag: Any) -> None:
    if _number(flag) not in (0.0, 1.0):
        raise _Mistake(f"`step` returned {_described(flag)} for {name}: return True or False.")


def _check_diagnostics(env: gymnasium.Env, info: Mapping[str, Any]) -> None:
    for name in diagnostics(env):
        if name in info and _number(info[name]) is None:
            raise _Mistake(
                f"`step` returned {_described(info[name])} for info[{name!r}], which its "
                "`diagnostics` name: these are numbers."
            )


def _when(t: int) -> str:
    return f" in step {t} of copy 0" if t else " in reset of copy 0"


def _number(value: Any) -> float | None:
    """A value as a number; None if it is none."""
    value = plain(value)
    try:
        return None if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError):
        return None


def _check_point(space: gymnasium.Space, point: Any, method: str, t: int, part: str = "") -> None:
    """Check an observation against its space, but for the bounds of a Box, which few keep to."""
    what = f"`{method}` returned an observation{part}"
    if isinstance(space, Dict):
        if not isinstance(point, Mapping) or (missing := set(space.spaces) - set(point)):
            lacking = f" without {sorted(map(str, missing))}" if isinstance(point, Mapping) else ""
            raise _Mistake(
                f"{what} that is {_described(point)}{lacking}, but its space is {space}."
            )
        for key, each in space.spaces.items():
            _check_point(each, point[key], method, t, f"{part}[{key!r}]")
    elif isinstance(space, Tuple):
        if not isinstance(point, tuple | list) or len(point) != len(space.spaces):
            raise _Mistake(f"{what} that is {_described(point)}, but its space is {space}.")
        for i, each in enumerate(space.spaces):
            _check_point(each, point[i], method, t, f"{part}[{i}]")
    elif isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
        _check_array(space, point, space.shape or (), what, t)


def _check_batch(space: gymnasium.Space, points: Any, count: int, method: str) -> None:
    if isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
        batch = batch_space(space, count)
        what = f"`{method}` returned a batch of observations"
        _check_array(batch, points, batch.shape or (), what)


def _check_array(
    space: Any, given: Any, shape: tuple[int, ...], what: str, t: int | None = None
) -> None:
    try:
        array = np.asarray(given)
    except ValueError:  # of parts of several lengths
        array = np.empty((), object)
    if array.shape != shape or not np.can_cast(array.dtype, space.dtype, "same_kind"):
        raise _Mistake(f"{what} that is {_described(given)}, but its space is {space}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        value = array[~np.isfinite(array)].flat[0]
        raise _Mistake(f"{what} that is not finite ({value:g}){'' if t is None else _when(t)}.")
    low, high = _range(space)
    if low is not None and ((array < low) | (array > high)).any():
        value = array[(array < low) | (array > high)].flat[0]
        raise _Mistake(f"{what} of {value}, which is outside its space {space}.")


def _range(space: Any) -> tuple[Any, Any]:
    """The first and the last number of a space that has such."""
    if isinstance(space, Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return (0, 1) if isinstance(space, MultiBinary) else (None, None)


def _can_act(space: gymnasium.Space) -> bool:
    """True if a policy has actions of the space."""
    return isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary)


def _actions(space: gymnasium.Space) -> Callable[[], Any]:
    """A function that draws actions like those of a new policy, by a generator of its own."""
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        rng = generator(0)
        low, high = space.low, space.high
        return lambda: rng.standard_normal(space.shape).clip(low, high).astype(space.dtype)
    own = copy.deepcopy(space)
    own.seed(0)
    return own.sample


def _batch_of_actions(env: Any) -> np.ndarray | None:
    """Random actions [M, ...]; None of a space that no policy acts in."""
    space = env.single_action_space
    if not _can_act(space):
        return None
    draw = _actions(space)
    return np.stack([np.asarray(draw()) for _ in range(env.num_envs)])


def _described(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, np.ndarray) and value.size != 1:
        return f"an array of shape {value.shape} ({value.dtype})"
    if isinstance(value, tuple | list):
        kinds = ", ".join(type(each).__name__ for each in value[:6])
        more = ", ..." * (len(value) > 6)
        return f"a {type(value).__name__} of {len(value)} ({kinds}{more})"
    words = " ".join(repr(value).split())
    return words if len(words) < 60 else f"{words[:56]} ..."


@contextlib.contextmanager
def generators_kept(env: Any) -> Iterator[None]:
    """Put generators back as they were: Python's, NumPy's, torch's and an environment's."""
    own = {name: getattr(env, name, None) for name in ("_np_random", "_np_random_seed")}
    try:
        with global_generators_kept():
            yield
    finally:
        for name, value in own.items():
            if hasattr(env, name):
                setattr(env, name, value)
