"""A user's environments: one that draws itself, and one that does not."""

import gymnasium
import numpy as np

from tests.helpers.pendulum import GoalPendulum


class Drawn(GoalPendulum):
    """Draws a picture that grows brighter by the step."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def reset(self, **arguments):
        self.steps = 0
        return super().reset(**arguments)

    def step(self, u):
        self.steps += 1
        return super().step(u)

    def render(self):
        return np.full((30, 60, 3), 10 * self.steps, np.uint8)


class Undrawn(Drawn):
    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012


gymnasium.register("Drawn-v0", entry_point=Drawn)
gymnasium.register("Undrawn-v0", entry_point=Undrawn)
