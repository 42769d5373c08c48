"""A point on a plane whose environment does something wrong, and outer steps that do."""

import os
import sys
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from rlmaml import tree

FAULTS = {
    "value": lambda: (_ for _ in ()).throw(ValueError("a mistake of one's own")),
    "pipe": lambda: (_ for _ in ()).throw(BrokenPipeError(32, "the robot's socket")),
    "memory": lambda: (_ for _ in ()).throw(MemoryError()),
    "interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "exit": lambda: sys.exit(0),
    "die": lambda: os._exit(3),
}
"""What the environment does at a step."""


class Faulty(gymnasium.Env):
    """Rewards are the distance to the goal, times `scale`.

    Args:
        scale: 0 where no reward is to be had.
        fault: of `FAULTS`, from the time step `at` on of all that this copy has done.
        file: what must exist for the fault to happen.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (2,), np.float32)
    task_space = spaces.Box(-1.0, 1.0, (2,), np.float64)

    def __init__(self, scale=1.0, fault=None, at=0, file=None):
        self.scale, self.fault, self.at, self.file, self.steps = scale, fault, at, file, 0

    def set_task(self, task):
        self.goal = np.asarray(task, float)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = np.zeros(2)
        return self.place.astype(np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.fault and self.steps > self.at and (not self.file or os.path.exists(self.file)):
            FAULTS[self.fault]()
        self.place = self.place + 0.1 * np.asarray(action)
        reward = -self.scale * float(np.linalg.norm(self.place - self.goal))
        return self.place.astype(np.float32), reward, False, False, {}


gymnasium.register("Faulty-v0", entry_point=Faulty)


def _renamed(meta):
    return {g: {f"{name}x": leaf for name, leaf in part.items()} for g, part in meta.items()}


OTHER_PARAMETERS = {
    "names": _renamed,
    "shapes": lambda meta: tree.map(lambda leaf: leaf[:1], meta),
    "types": lambda meta: tree.map(torch.Tensor.double, meta),
    "none": lambda meta: None,
}
KEPT = {
    "": {},
    "array": {"a": np.ones(2)},
    "number": {"a": np.float64(2)},
    "object": {"a": object()},
    "code": {"a": lambda: 0},
}
METRICS = {
    "": lambda known: known,
    "array": lambda known: known | {"a": np.ones(2), "b": np.float32(1), "c": np.int64(1)},
    "tensor": lambda known: known | {"a": torch.ones(2), "b": torch.ones(())},
    "object": lambda known: known | {"a": object()},
    "key": lambda known: known | {3: 1},
    "iteration": lambda known: (
        known | {"iteration": 0, "attempt": "x", "return/pre": "y", "crc": 1}
    ),
    "none": lambda known: None,
}


@dataclass(frozen=True)
class Step:
    """An outer step of one's own: changes in place, as its protocol allows, and may go wrong."""

    change: float = 0.0
    """Added to every parameter."""
    wrong_at: int = -1
    """The update that goes wrong."""
    wrong: str = "raise"
    """raise, meta, outer: an error halfway, or numbers that are not finite in the parameters or in
    the step's own state; names, shapes, types, none: other parameters than before."""
    kept: str = ""
    """What its state_dict holds beside the rest: array, number, object, code, or nothing."""
    said: str = ""
    """What it reports beside the outcome: array, tensor, object, key, iteration, none."""
    outcome: str = ""
    """What is reported; nothing if empty."""

    def init(self, meta):
        return {"count": torch.zeros(()), "best": torch.tensor(torch.inf)}

    def update(self, objective, state, batch):
        state.outer["count"] += 1
        wrong = self.wrong if state.iteration == self.wrong_at else ""
        for leaf in tree.leaves(state.meta):
            leaf += self.change
            if wrong == "raise":
                raise ValueError("halfway through an update")
            if wrong == "meta":
                leaf += torch.nan
        if wrong == "outer":
            state.outer["count"] /= 0
        if wrong in OTHER_PARAMETERS:
            state = state._replace(meta=OTHER_PARAMETERS[wrong](state.meta))
        metrics = {"outcome": self.outcome} if self.outcome else {}
        return state, METRICS[self.said](metrics)

    def state_dict(self, state):
        return {name: value.clone() for name, value in state.items()} | KEPT[self.kept]

    def load_state_dict(self, meta, saved):
        return {name: saved[name].clone() for name in ("count", "best")}

    def validate_schedule(self, iterations):
        pass
