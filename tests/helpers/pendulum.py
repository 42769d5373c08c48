"""A user's environment: gymnasium's pendulum, whose goal angle is the task. Two methods more."""

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv, angle_normalize


class GoalPendulum(PendulumEnv):
    """Swing to the goal angle (radians from upright) and stay there."""

    task_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)
    goal = 0.0

    def set_task(self, task):
        self.goal = float(task[0])

    def step(self, u):
        theta, speed = self.state
        observation, _, terminated, truncated, info = super().step(u)
        torque = np.clip(u, -self.max_torque, self.max_torque)[0]
        cost = angle_normalize(theta - self.goal) ** 2 + 0.1 * speed**2 + 0.001 * torque**2
        return observation, -cost, terminated, truncated, info


gymnasium.register("GoalPendulum-v0", entry_point=GoalPendulum, max_episode_steps=200)
