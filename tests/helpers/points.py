"""A point on a plane that is to reach a goal, as users write one, and what they make of it."""

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle


class Point(gymnasium.Env):
    """Moves by its action; is paid minus the distance to the goal, which is the task."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-0.1, 0.1, (2,), np.float32)
    task_space = spaces.Box(-1.0, 1.0, (2,), np.float64)
    goal = np.array([0.5, 0.5])

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def set_task(self, task):
        self.goal = np.asarray(task, float)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-0.1, 0.1, 2)
        return self.x.astype(np.float32), {}

    def step(self, action):
        self.x = self.x + action + self.np_random.normal(0, 0.01, 2)
        distance = float(np.linalg.norm(self.x - self.goal))
        return self.x.astype(np.float32), -distance, distance < 0.2, False, {}

    def render(self):
        return np.zeros((32, 32, 3), np.uint8)


class Told(Point):
    """Says its task."""

    @property
    def task(self):
        return self.goal.copy()


class Rebuilt(Told, EzPickle):
    """Copies by building itself anew, as gymnasium's MuJoCo and Box2D environments do."""

    def __init__(self):
        super().__init__()
        EzPickle.__init__(self)


class _World:
    def __deepcopy__(self, memo):
        return self


class Handle(Told):
    """Holds a simulator's handle, so its copies share one world."""

    def __init__(self):
        super().__init__()
        self.world = _World()

    @property
    def x(self):
        return self.world.x

    @x.setter
    def x(self, value):
        self.world.x = value


class Uncopyable(Told):
    def __deepcopy__(self, memo):
        raise RuntimeError("a simulator does not copy")


class Misnamed(Point):
    """Has an attribute `task` of another meaning."""

    task = "reach"

    def set_task(self, task):
        if not isinstance(task, str):
            super().set_task(task)


class Tasked(gymnasium.Wrapper):
    """Gives a pendulum tasks, which its own class knows nothing of."""

    task_space = spaces.Box(-1.0, 1.0, (1,))
    diagnostics = ("angle",)
    goal = 0.0

    def __init__(self, **options):
        super().__init__(gymnasium.make("Pendulum-v1", **options))

    def set_task(self, task):
        self.goal = float(task[0])

    def describe(self, task):
        return f"swing to {task[0]:.1f}"

    def step(self, action):
        observation, _, terminated, truncated, info = self.env.step(action)
        info = {**info, "angle": float(observation[1])}
        return observation, -abs(float(observation[1]) - self.goal), terminated, truncated, info


def with_goal(kind, *goal):
    env = kind()
    env.set_task(np.array(goal))
    return env


def registered(monkeypatch, kind, **more):
    """The id of a class that is registered for one test."""
    name = f"{kind.__name__}-v0"
    monkeypatch.delitem(gymnasium.registry, name, raising=False)
    gymnasium.register(name, entry_point=kind, **more)
    return name


def training(name, out, *more):
    """Words of the smallest training on an environment."""
    sizes = ("--tasks", "2", "--episodes", "2", "--horizon", "4", "--iterations", "1")
    own = ("--env.id", name, "--env.kwargs", "{}", "--policy.hidden", "4", "--threads", "1")
    return (
        "train",
        "navigation",
        *own,
        *sizes,
        "--inner.steps",
        "1",
        "--quiet",
        "--out",
        out,
        *more,
    )
