"""Task families of navigation: goals on a plane, or on a half circle."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..core.angles import angle_ranges, on_circle
from ..core.arguments import Interval, Range, check_bool, check_interval, check_scale
from ..core.tasks import Split, Tasks, check_split

Floats = NDArray[np.float64]


class PlaneTasks(Tasks[Floats]):
    """A family of goals on the plane: rewards where a move led.

    Subclasses say where a task's goal is, when an episode is over and what is drawn.
    """

    space: spaces.Box
    reached: float = 0.01
    """An episode ends when both coordinates are nearer to the goal than this; 0 for never."""
    extent: float
    """Half the side of the square, around the origin, that goals are in."""
    goal_radius: float | None = None
    """Radius of the circle around the goal that frames show; None where only the goal counts."""
    diagnostics: tuple[str, ...] = ("distance",)
    """Names in `details` that are worth recording."""

    @abstractmethod
    def goals(self, tasks: np.ndarray) -> Floats:
        """Goals of tasks `[M, *space.shape]`, `[M, 2]`."""

    def distances(self, tasks: np.ndarray, positions: Floats) -> Floats:
        """Distances of positions, `[M, 2]`, to the goals, `[M]`."""
        return np.sqrt(np.sum(np.square(positions - self.goals(tasks)), axis=-1))

    def details(self, tasks: np.ndarray, positions: Floats) -> dict[str, Floats]:
        """Numbers for `info`, `[M]` each, of positions `[M, 2]`."""
        return {"distance": self.distances(tasks, positions)}

    def lines(self) -> list[Floats]:
        """Lines that goals lie on, `[T, 2]` each, for frames; none if they fill a square."""
        return []


class GoalPoint(PlaneTasks):
    """Come close to a point of the plane: pays -||x - g||.

    A task is the goal g, uniform on a square. The splits are the same.

    Args:
        goal_range: the square's side, `(low, high)` in either coordinate; the default is the MAML
            paper's.
    """

    def __init__(self, goal_range: Interval = (-0.5, 0.5)) -> None:
        low, high = self._low, self._high = check_interval("goal_range", goal_range)
        self.space = spaces.Box(low, high, (2,), dtype=np.float64)
        # A corner: the middle would be the place where the point starts.
        self.default = np.array([high, high])
        self.extent = max(abs(low), abs(high))

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        check_split(split)
        return rng.uniform(self._low, self._high, size=(n, 2))

    def goals(self, tasks: np.ndarray) -> Floats:
        return tasks

    def reward(self, tasks: np.ndarray, result: Floats) -> Floats:
        """Minus the distance to the goals from positions, `[M, 2]`."""
        return -self.distances(tasks, result)

    def describe(self, task: np.ndarray) -> str:
        return f"goal ({task[0]:.2f}, {task[1]:.2f})"


class GoalAngle(PlaneTasks):
    """Find a goal on the half circle of radius 1: pays 1 - ||x - g|| near it, otherwise 0.

    Near is within `goal_radius`, its edge included. An episode does not end at the goal. This is
    the sparse point robot of PEARL (Rakelly et al. 2019, arXiv:1903.08254), in goals and rewards.

    A task is the angle of the goal g in radians, counterclockwise from the x axis, in a Box of
    shape (1,) that holds both ranges. It is not the point g: every angle is a task, while hardly a
    point of the plane lies on the circle, and what is held out is a range of one number.

    Args:
        angle_range: where tasks to train on, and to validate, are drawn from, uniformly, in
            radians from -2π to 2π.
        test_angle_range: the same for split="test"; None is `angle_range`. Holes that a `Range`
            may have, ((0, 1), (2, 3)) to train and (1, 2) to test, ask for interpolation.
        balanced: draw one of n angles from each n-th part of the range; otherwise each by itself.
        goal_radius: distance to the goal within which it pays.
        dense: pay -||x - g|| everywhere, which is easier to learn from; `sparse_reward` in info
            stays what the sparse reward would be.

    Raises:
        TypeError: `balanced` or `dense` is not True or False.
        ValueError: a range that is none or leaves -2π to 2π, or a negative `goal_radius`.
    """

    reached = 0.0
    extent = 1.0
    diagnostics = ("distance", "sparse_reward")
    goal_radius: float

    def __init__(
        self,
        angle_range: Range = (0.0, np.pi),
        test_angle_range: Range | None = None,
        *,
        balanced: bool = False,
        goal_radius: float = 0.2,
        dense: bool = False,
    ) -> None:
        self._balanced = check_bool("balanced", balanced)
        self._dense = check_bool("dense", dense)
        self.goal_radius = check_scale("goal_radius", goal_radius)
        self._angles = angle_ranges(angle_range, test_angle_range)
        self.space = spaces.Box(self._angles.low, self._angles.high, (1,), dtype=np.float64)
        self.default = np.array([self._angles.middle])

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        return self._angles.sample(n, rng, split, balanced=self._balanced)[:, None]

    def goals(self, tasks: np.ndarray) -> Floats:
        return on_circle(tasks[..., 0])

    def reward(self, tasks: np.ndarray, result: Floats) -> Floats:
        """Rewards of positions, `[M, 2]`: sparse ones, or dense ones if the family is dense."""
        distances = self.distances(tasks, result)
        return -distances if self._dense else self._sparse(distances)

    def details(self, tasks: np.ndarray, positions: Floats) -> dict[str, Floats]:
        distances = self.distances(tasks, positions)
        return {"distance": distances, "sparse_reward": self._sparse(distances)}

    def _sparse(self, distances: Floats) -> Floats:
        return np.where(distances <= self.goal_radius, 1.0 - distances, 0.0)

    def lines(self) -> list[Floats]:
        """Arcs of both ranges."""
        return [on_circle(np.linspace(*ends, 100)) for ends in self._angles.intervals]

    def describe(self, task: np.ndarray) -> str:
        return f"goal at {np.degrees(task[0]):.0f}°"
