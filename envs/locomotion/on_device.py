"""Robots whose whole steps are computations on a device, such as a GPU.

Where the simulation gives tensors (`TensorSimulation`), observations, rewards and falls come of
the same functions as ever, which are written in the array API. The host is there when episodes
begin, and asks once they are over whether all went well.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from array_api_compat import array_namespace, to_device

from ..core.step import DIVERGED, StepResult
from .simulation import TensorSimulation
from .step import judge

if TYPE_CHECKING:
    from .vector_env import LocomotionVectorEnv


class OnDevice:
    """M robots that begin together and take every step together, in tensors.

    First states are those of the vector environment with the same seeds. A robot whose episode has
    ended goes on being simulated; what it then gives counts for nothing.

    Args:
        env: the vector environment, whose tasks are theirs.
        simulation: its simulation.

    Attributes:
        device: the name of where tensors are.
    """

    def __init__(self, env: LocomotionVectorEnv, simulation: TensorSimulation) -> None:
        self._env, self._simulation, self.device = env, simulation, simulation.device

    @classmethod
    def of(cls, env: LocomotionVectorEnv) -> OnDevice | None:
        """The same robots in tensors; None where their simulation or their laws are not.

        Laws are tried on the state that there is: a robot or a task of somebody's own may be
        written for NumPy alone, which a warning says.
        """
        if not hasattr(env.simulation, "tensors"):
            return None
        made = cls(env, cast(TensorSimulation, env.simulation))
        try:
            made._look()
            shape = env.action_space.shape
            judged = made._judge(made._xp.zeros(shape, dtype=made._xp.float64, device=made.device))
            array_namespace(made._observations, *judged[:3], *judged.details.values())
        except Exception as problem:  # whatever NumPy and somebody's own code make of tensors
            warnings.warn(
                f"{type(env.robot).__name__} or its tasks cannot be computed in tensors, so that "
                f"every step goes by the host: {problem}. Write them in the array API "
                "(docs/adding_a_robot.md).",
                RuntimeWarning,
                stacklevel=2,
            )
            return None
        return made

    def begin(self, seeds: Sequence[int], active: Any) -> Any:
        """Begin an episode of each.

        Args:
            seeds: of the first states, M.
            active: which of them count, `[M]`.

        Returns:
            Observations `[M, D]`, float64.
        """
        self._env.reset(seed=seeds)
        self._look()
        self._elapsed = 0
        self._lacking = self._xp.zeros_like(self._simulation.lacking())
        self._going = active
        return self._observations

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take a step of every robot.

        Args:
            actions: `[M, A]`, float64.

        Returns:
            As of the vector environment: observations `[M, D]`, rewards, terminations and
            truncations `[M]`, and a report of `[M]` each.
        """
        xp, limit = self._xp, self._env.max_episode_steps
        self._simulation.advance(actions)
        result = self._judge(actions)
        self._elapsed += 1
        truncations = diverged = result.diverged
        if limit is not None and self._elapsed >= limit:
            truncations = xp.ones_like(diverged)
        lacking = xp.where(self._going & ~diverged, self._simulation.lacking(), 0)
        self._lacking = self._lacking | lacking
        self._going = self._going & ~(result.terminations | truncations)
        info = result.details | {DIVERGED: diverged}
        return result.observations, result.rewards, result.terminations, truncations, info

    def check(self) -> None:
        """Look, once, whether all that counts was simulated as a whole.

        Raises:
            RuntimeError: it was not; of the simulation's own kind.
        """
        self._simulation.check_room(np.asarray(to_device(self._lacking, "cpu")))

    def _look(self) -> None:
        """See where robots are, and which tasks are theirs."""
        state = self._simulation.tensors()
        self._xp = array_namespace(state.qpos)
        self._tasks = self._xp.asarray(self._env.tasks, device=self.device)
        self._position = self._env.robot.position(state)
        self._observations = self._env.robot.observation(state)

    def _judge(self, actions: Any) -> StepResult:
        """What actions led to."""
        env, robot = self._env, self._env.robot
        state = self._simulation.tensors()
        motion = robot.motion(self._position, state, env.dt)
        diverged, before = self._simulation.blown(), self._observations
        result = judge(robot, env.family, self._tasks, actions, motion, state, diverged, before)
        self._position, self._observations = motion.position, result.observations
        return result
