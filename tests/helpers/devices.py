"""torch's device `meta`, which has shapes and no values, and simulations whose states are tensors.

What would be made on the CPU beside a GPU's is told apart from tensors of `meta`, and a look at a
value, for which a GPU would be waited for, raises.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from envs.locomotion.robots.base import State
from envs.locomotion.simulation import MuJoCoBatch


class Elsewhere(TorchDispatchMode):
    """Notes the operations that make something on another device than `meta`."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        # A number of Python goes along as it is.
        number = function is torch.ops.aten._to_copy.default and isinstance(args[0], int | float)
        found = result if isinstance(result, tuple | list) else [result]
        self.made += [str(function) for each in found if not number and on_cpu(each)]
        return result


def on_cpu(each):
    return isinstance(each, torch.Tensor) and each.device.type != "meta"


class Tensors(MuJoCoBatch):
    """MuJoCo's own simulations, in tensors on the CPU."""

    device = "cpu"

    def advance(self, controls):
        self.step(slice(None), controls.numpy())

    def tensors(self):
        state = self.state(slice(None))
        fields = {name: self._copied(values) for name, values in state.fields.items()}
        return State(self._copied(state.qpos), self._copied(state.qvel), fields)

    def blown(self):
        return self._copied(self.diverged(slice(None)))

    def lacking(self):
        return self._copied(np.zeros(self.num_envs, np.int32))

    def check_room(self, lacking):
        if lacking.any():
            raise RuntimeError("no room")

    def _copied(self, values):
        return torch.from_numpy(np.array(values)).to(self.device)


class Shapes(Tensors):
    """The same without values: nobody can look at one."""

    device = "meta"

    def __init__(self, robot, num_envs, num_threads):
        super().__init__(robot, num_envs, num_threads)
        self.found = super().tensors(), super().blown(), super().lacking()

    def advance(self, controls):
        assert controls.is_meta

    def tensors(self):
        return self.found[0]

    def blown(self):
        return self.found[1]

    def lacking(self):
        return self.found[2]
