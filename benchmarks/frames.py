"""Frames a second that the environments draw.

    python -m benchmarks.frames [--size 480] [--frames 100]

Steps an environment with random actions and draws every step; medians of five rounds. `fast` is how
environments draw by default, `pretty` has shadows, reflections and smooth edges. Without a screen
MuJoCo's pictures come from Mesa's software renderer, or from a GPU's EGL where there is one.
"""

from __future__ import annotations

import argparse
import json
import time

import gymnasium
import numpy as np

import envs  # noqa: F401  (registers the environments)

ENVIRONMENTS = {
    "HalfCheetah": ("HalfCheetahVel-v0", {"frame_skip": 1}),
    "Ant": ("AntVel-v0", {}),
    "navigation": ("Navigation2D-v0", {}),
}


def frames_per_second(env: gymnasium.Env, frames: int) -> tuple[float, float]:
    """Measure the rate of stepping and drawing, and of drawing alone."""
    env.reset(seed=0)
    env.action_space.seed(0)
    env.render()  # makes the context
    drawing, began = 0.0, time.perf_counter()
    for _ in range(frames):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
        clock = time.perf_counter()
        env.render()
        drawing += time.perf_counter() - clock
    return frames / (time.perf_counter() - began), frames / drawing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=480, help="pixels, of a square (480)")
    parser.add_argument("--frames", type=int, default=100, help="a round (100)")
    options = parser.parse_args()
    rates = {}
    for name, (env_id, kwargs) in ENVIRONMENTS.items():
        for pretty in (False, True) if name != "navigation" else (False,):
            drawing = {"pretty": True} if pretty else {}
            env = gymnasium.make(
                f"rlmaml/{env_id}",
                render_mode="rgb_array",
                width=options.size,
                height=options.size,
                **kwargs,
                **drawing,
            )
            rounds = [frames_per_second(env, options.frames) for _ in range(5)]
            env.close()
            both, alone = np.median(rounds, axis=0)
            label = f"{name}, {'pretty' if pretty else 'fast'}"
            rates[label] = {"step_and_draw": both, "draw": alone}
            print(f"{label:<22}{both:8.1f} frames/s with the step, {alone:8.1f} drawing alone")
    print(json.dumps({"size": options.size, "frames_per_second": rates}))


if __name__ == "__main__":
    main()
