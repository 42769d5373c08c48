"""An episode in a panel."""

import gymnasium
import numpy as np

import tests.helpers.drawing  # noqa: F401  registers Drawn-v0
from runners.rendering.panel import Panel


def test_who_ends_first_is_still_seen():
    class Still:
        def act(self, observation, deterministic):
            return np.zeros(1)

    envs = [
        gymnasium.make("Drawn-v0", max_episode_steps=n, disable_env_checker=True) for n in (2, 4)
    ]
    shown = [Panel(env, Still(), "", "", 32) for env in envs]
    for panel in shown:
        panel.reset(seed=0)
    seen = []
    while not all(panel.ended for panel in shown):
        for panel in shown:
            panel.step()
        seen.append([panel.picture().getpixel((16, 40))[0] for panel in shown])
    assert seen == [[10, 10], [20, 20], [20, 30], [20, 40]]
