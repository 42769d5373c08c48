"""Simulations stepped by MuJoCo Warp, on a GPU or, far slower and for tests, on a CPU.

It computes in float32. Everything else, first states, observations, rewards and falls, is what it
is with MuJoCo's own engine, and so is what a step is, but for the friction of a capsule that
stands steeply on the ground: both engines take its cone for a pyramid, and turn that otherwise
(docs/gpu.md).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping, Set
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from ..core.vector_env import Rows
from .robots.base import Floats, Robot, State

_CARRIED = ("qpos", "qvel", "act", "qacc_warmstart", "time")
"""Fields of Warp's data that one step hands on to the next."""


class WarpUnavailableError(ImportError):
    """MuJoCo Warp cannot be imported, with the reason and what to do."""


class WarpBufferError(RuntimeError):
    """A step had more contacts than there is room for, so that its forces are not whole."""


class WarpBatch:
    """M simulations stepped by MuJoCo Warp in one call.

    Results do not depend on how many simulations there are, nor on which others are reset or left
    alone, but for the last bits of sums that a GPU adds up in any order.

    Args:
        robot: which robot.
        num_envs: M.
        num_threads: nothing; Warp has threads of its own.
        device: its name, "cuda:0" or "cpu"; None is the GPU if there is one.
        contacts: room for contacts, on average over simulations.
        constraints: room for a simulation's constraints.

    Attributes:
        model: the robot's.
        device: the name of where simulations are.

    Raises:
        WarpUnavailableError: it is not installed, or has no such device.
    """

    def __init__(
        self,
        robot: Robot,
        num_envs: int,
        num_threads: int = 1,
        *,
        device: str | None = None,
        contacts: int = 64,
        constraints: int = 192,
    ) -> None:
        self._warp, self._engine = _imported()
        self.model = robot.model()
        if self.model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
            # Warp has none. Both look for the minimum of one convex function.
            self.model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
        self.num_envs = num_envs
        self._robot = robot
        try:
            self._device = self._warp.get_device(device)
        except Exception as problem:  # Warp raises what it likes for each kind of name
            raise WarpUnavailableError(f"Warp has no device {device!r} ({problem})") from problem
        self.device = str(self._device)
        self._compiled, self._recorded = False, None
        """Whether `_physics` was run with this model, and what it launches on a GPU, as a graph."""
        with self._warp.ScopedDevice(self._device):
            self._model = self._put({})
            self._data = self._engine.make_data(
                self.model, nworld=num_envs, nconmax=contacts, njmax=constraints
            )
        self._fields = tuple(robot.reads)
        self._lost = np.zeros(num_envs, dtype=np.bool_)
        self._given: dict[str, Floats] = {}
        """Fields of the model that each simulation was given its own of, `[M, ...]`."""
        self._following: dict[str, Floats] = {}
        """Fields that follow from these, as last derived, where they are not the robot's."""
        self._own: Set[str] = frozenset()
        """Fields of the model on the device that each simulation has its own of."""
        self.reset(
            np.arange(num_envs),
            np.tile(self.model.qpos0, (num_envs, 1)),
            np.zeros((num_envs, self.model.nv)),
        )

    def reset(self, ids: NDArray[np.intp], qpos: Floats, qvel: Floats) -> None:
        if not ids.size:
            return
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[ids] = True
        with self._alone(ids):
            self._engine.reset_data(self._model, self._data, self._warp.array(mask, dtype=bool))
            self._write("qpos", ids, qpos)
            self._write("qvel", ids, qvel)
            self._engine.forward(self._model, self._data)
        self._lost[ids] = False

    def step(self, rows: Rows, controls: Floats) -> None:
        ids = np.arange(self.num_envs)[rows]
        if not ids.size:
            return
        with self._alone(ids):
            self._write("ctrl", ids, controls)
            self._physics()
        self._lost[ids] |= self.blown().cpu().numpy()[ids]
        lacking = self._data.overflow.numpy()
        self.check_room(lacking[ids[~self._lost[ids]]])

    def state(self, rows: Rows) -> State:
        fields = {name: self._read(name)[rows] for name in self._fields}
        return State(self._read("qpos")[rows], self._read("qvel")[rows], fields)

    def diverged(self, rows: Rows) -> NDArray[np.bool_]:
        return self._lost[rows].copy()

    def advance(self, controls: Any) -> None:
        self._tensor("ctrl").copy_(controls)
        if not self._device.is_cuda:
            self._physics()
            return
        # After what torch has queued, and before what it will.
        stream = self._warp.stream_from_torch(self.device)
        if not self._compiled:  # kernels are not to be while they are recorded
            with self._warp.ScopedStream(stream):
                self._physics()
            self._compiled = True
            return
        if self._recorded is None:
            self._recorded = self._record()
        self._warp.capture_launch(self._recorded, stream=stream)

    def tensors(self) -> State:
        fields = {name: self._tensor(name).double() for name in self._fields}
        return State(self._tensor("qpos").double(), self._tensor("qvel").double(), fields)

    def blown(self) -> Any:
        within = [self._tensor(name).abs() <= mujoco.mjMAXVAL for name in ("qpos", "qvel")]
        return ~(within[0].all(1) & within[1].all(1))  # NaN is not within the limit either

    def lacking(self) -> Any:
        return self._tensor("overflow").clone()

    def check_room(self, lacking: NDArray[np.int32]) -> None:
        kinds = self._engine.OverflowType
        wanted = kinds.ALL & ~(kinds.ITERATIONS | kinds.LS_ITERATIONS)
        found = int(np.bitwise_or.reduce(lacking)) & int(wanted)
        if found:
            raise WarpBufferError(
                f"MuJoCo Warp had no room for all contacts or constraints ({kinds(found)!r}). Make "
                "more: gymnasium.make_vec(..., simulate=functools.partial(WarpBatch, contacts=..., "
                "constraints=...))."
            )

    def set_model(self, fields: Mapping[str, Floats], *, derive: bool = True) -> None:
        self._given |= fields
        if derive:
            self._following = self._derived(self._given)
        own = self._following | self._given
        with self._warp.ScopedDevice(self._device):
            if own.keys() != self._own:  # else a graph that was recorded stays one of this model
                self._model = self._put(dict.fromkeys(own, self.num_envs))
                self._own, self._compiled, self._recorded = own.keys(), False, None
            for name, values in own.items():
                array = getattr(self._model, name)
                array.assign(np.asarray(values, dtype=np.float32).reshape(array.numpy().shape))

    def _put(self, sizes: dict[str, int]) -> Any:
        """The model on the device, with so many of some fields."""
        model = self._engine.put_model(self.model, batch_sizes=sizes)
        model.opt.deterministic = self._engine.DeterminismType.ALL
        return model

    def _derived(self, fields: Mapping[str, Floats]) -> dict[str, Floats]:
        """Fields that follow from others, `[M, ...]`, as MuJoCo itself derives them.

        Warp's own `set_const` derives fewer.
        """
        batched = {
            field.name
            for field in dataclasses.fields(self._engine.Model)
            if getattr(field.type, "shape", ("",))[:1] == ("*",) and hasattr(self.model, field.name)
        } - fields.keys()
        each: dict[str, list[Floats]] = {name: [] for name in sorted(batched)}
        model, data = copy.copy(self.model), mujoco.MjData(self.model)
        for i in range(self.num_envs):
            for name, values in fields.items():
                getattr(model, name)[:] = values[i]
            mujoco.mj_setConst(model, data)
            for name, found in each.items():
                found.append(np.array(getattr(model, name), dtype=np.float64))
        return {
            name: np.stack(found)
            for name, found in each.items()
            if any((one != getattr(self.model, name)).any() for one in found)
        }

    def _physics(self) -> None:
        """A step of the robot: nothing of it is looked at, and all of it can be recorded."""
        self._data.overflow.zero_()
        for _ in range(self._robot.frame_skip):
            self._engine.step(self._model, self._data)
        self._recompute()

    def _record(self) -> Any:
        """A graph of `_physics`, whose many small launches then are one.

        Recorded on Warp's own stream: torch's may be the one that cannot be.
        """
        with self._warp.ScopedDevice(self._device), self._warp.ScopedCapture() as capture:
            self._physics()
        return capture.graph

    def _tensor(self, name: str) -> Any:
        """A field of all simulations as a torch tensor of the same memory."""
        return self._warp.to_torch(getattr(self._data, name))

    def _recompute(self) -> None:
        """Bring what follows from a state up to date, as far as the robot reads it."""
        if self._robot.recompute == "velocities":
            self._engine.fwd_position(self._model, self._data)
            self._engine.sensor_pos(self._model, self._data)
            self._engine.fwd_velocity(self._model, self._data)
            self._engine.sensor_vel(self._model, self._data)
        elif self._robot.recompute == "accelerations":
            self._engine.forward(self._model, self._data)
        if "cfrc_ext" in self._fields:
            self._engine.rne_postconstraint(self._model, self._data)

    @contextlib.contextmanager
    def _alone(self, ids: NDArray[np.intp]) -> Iterator[None]:
        """Compute on the device for some simulations; the others are then as they were before."""
        others = np.setdiff1d(np.arange(self.num_envs), ids)
        names = (*_CARRIED, *self._fields) if others.size else ()
        held = {name: getattr(self._data, name).numpy()[others] for name in names}
        with self._warp.ScopedDevice(self._device):
            yield
        for name, values in held.items():
            self._write(name, others, values)

    def _read(self, name: str) -> Floats:
        """A field of all simulations, copied from the device."""
        return np.array(getattr(self._data, name).numpy(), dtype=np.float64)

    def _write(self, name: str, ids: NDArray[np.intp], values: NDArray[Any]) -> None:
        array = getattr(self._data, name)
        whole = array.numpy()
        whole[ids] = values
        if self._device.is_cuda:  # else it is a view
            array.assign(whole)


def _imported() -> tuple[Any, Any]:
    """The modules `warp` and `mujoco_warp`."""
    try:
        import warp

        warp.config.log_level = warp.LOG_WARNING  # it would tell of every kernel that it compiles
        import mujoco_warp  # pyright: ignore[reportMissingImports]
    except ImportError as problem:
        raise WarpUnavailableError(
            f"the simulator warp needs MuJoCo Warp ({problem}): pip install 'rlmaml[warp]'"
        ) from problem
    return warp, mujoco_warp
