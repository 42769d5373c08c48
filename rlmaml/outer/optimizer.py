"""Outer steps that descend the meta-gradient by any optimizer of `torch.optim`."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from rlmaml import processes, tree
from rlmaml.errors import ConfigError
from rlmaml.objective import Objective, meta_gradient
from rlmaml.outer.base import OuterCapability
from rlmaml.torch_state import plain_defaults
from rlmaml.types import Meta, MetaBatch, Metrics, State, StateDict
from rlmaml.values import check_values


@dataclass(frozen=True)
class Optimizer:
    """An outer step by an optimizer of `torch.optim`."""

    capabilities: ClassVar[frozenset[OuterCapability]] = frozenset({"gradient-only", "optimizer"})
    limits: ClassVar[dict[str, float]] = {"learning_rate": 1e6}

    name: str = "Adam"
    """Class in torch.optim: Adam, AdamW, SGD, RMSprop, ..."""
    learning_rate: float = 1e-3
    """β of the outer step, at the start."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Further arguments of that class."""
    schedule: str | None = None
    """Class in torch.optim.lr_scheduler, stepped once per iteration: CosineAnnealingLR, ..."""
    schedule_kwargs: dict[str, Any] = field(default_factory=dict)
    """Its arguments, e.g. {"T_max": 70000}."""
    clip_norm: float | None = None
    """Scale the meta-gradient down to this norm where it is longer."""
    clip_value: float | None = None
    """Clip every component of the meta-gradient to ± this (before clip_norm)."""

    @plain_defaults()
    def __post_init__(self) -> None:
        check_values(self, "optimizer.")
        if not self.learning_rate > 0:
            raise ConfigError(
                f"optimizer.learning_rate must be positive, got {self.learning_rate}."
            )
        for name in ("clip_norm", "clip_value"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"optimizer.{name} must be positive or None, got {value}.")
        if (self.name, self.kwargs, self.schedule, self.schedule_kwargs) == ("Adam", {}, None, {}):
            return  # right, and torch takes more than a second to make its first optimizer
        # Wrong names and arguments are errors now, not later.
        if self.kwargs.get("maximize"):
            raise ConfigError("optimizer.kwargs has maximize: the loss is to fall, leave it out.")
        live = self._make([torch.ones(1, 1, requires_grad=True)])
        live.params[0].grad = torch.ones(1, 1)
        for _ in range(_TRIALS):
            _call(live.optimizer.step, self.name, self.kwargs)
        if not torch.isfinite(live.params[0]).all():
            raise ConfigError(
                f"{self.name} with {self.kwargs} and a learning rate of {self.learning_rate} makes "
                f"a parameter of 1 not finite in {_TRIALS} steps: take smaller values."
            )
        if live.schedule is not None:
            _call(live.schedule.step, self.schedule, self.schedule_kwargs)

    @plain_defaults()
    def init(self, meta: Meta) -> OptimizerState:
        """An optimizer that has seen nothing.

        Raises:
            ConfigError: parameters that the optimizer does not take.
        """
        return self._make([leaf.detach().clone().requires_grad_() for leaf in tree.leaves(meta)])

    @plain_defaults()
    def load_state_dict(self, meta: Meta, saved: StateDict) -> OptimizerState:
        """The optimizer, and its schedule, as `saved` holds them."""
        live = self.init(meta)
        saved = copy.deepcopy(saved)  # torch takes the tensors over, and writes to them
        live.optimizer.load_state_dict(saved["optimizer"])
        if live.schedule is not None:
            live.schedule.load_state_dict(saved["schedule"])
        return live

    def state_dict(self, state: OptimizerState) -> StateDict:
        """{"optimizer": ..., "schedule": ...}, the latter where there is one."""
        saved = {"optimizer": state.optimizer.state_dict()}
        if state.schedule is not None:
            saved["schedule"] = state.schedule.state_dict()
        return _copied(saved)

    @plain_defaults()
    def validate_schedule(self, iterations: int) -> None:
        """Run the schedule alone for that many iterations.

        Raises:
            ConfigError: a schedule that ends earlier.
        """
        live = self._make([torch.zeros(1, 1)])
        if live.schedule is None:
            return
        for done in range(min(iterations, _FORESEEN)):
            if not math.isfinite(live.learning_rate):
                raise ConfigError(
                    f"optimizer.schedule {self.schedule} with {self.schedule_kwargs} has brought "
                    f"the learning rate to {live.learning_rate} after {done} of {iterations} "
                    "iterations: it must stay finite."
                )
            if not live.learning_rate > 0:
                raise ConfigError(
                    f"optimizer.schedule {self.schedule} with {self.schedule_kwargs} has brought "
                    f"the learning rate to 0 after {done} of {iterations} iterations: nothing more "
                    "would be learned."
                )
            try:
                live.optimizer.step()
                live.schedule.step()
            except Exception as problem:  # each schedule has its own way to end
                raise ConfigError(
                    f"optimizer.schedule {self.schedule} with {self.schedule_kwargs} cannot go on "
                    f"after {done} of {iterations} iterations: {problem}"
                ) from problem

    def update(
        self, objective: Objective, state: State[OptimizerState], batch: MetaBatch
    ) -> tuple[State[OptimizerState], Metrics]:
        """One step down the gradient of the meta-objective.

        A gradient that is not finite changes nothing, and `outcome` says so. The state is used
        up: go on with the one returned.
        """
        live = state.outer
        losses, gradient = meta_gradient(objective, state.meta, batch)
        norm = gradient.norm()
        metrics: Metrics = {
            "outcome": "accepted",
            "loss": processes.mean(losses).item(),
            "gradient_norm": norm.item(),
            "learning_rate": live.learning_rate,
        }
        if not torch.isfinite(norm):
            return state, metrics | {"outcome": "gradient not finite"}
        meta = self.descend(live, state.meta, gradient)
        live.advance()
        return state._replace(meta=meta, outer=live), metrics

    @plain_defaults()
    def descend(self, live: OptimizerState, meta: Meta, gradient: Tensor) -> Meta:
        """One step from `meta` along a gradient [P] that is finite. The schedule stays."""
        if self.clip_value is not None:
            gradient = gradient.clamp(-self.clip_value, self.clip_value)
        if self.clip_norm is not None:
            gradient = gradient * (self.clip_norm / gradient.norm().clamp(min=self.clip_norm))
        with torch.no_grad():
            torch._foreach_copy_(live.params, tree.leaves(meta))
        parts = gradient.split([param.numel() for param in live.params])
        for param, part in zip(live.params, parts, strict=True):
            param.grad = part.view(param.shape)
        live.optimizer.step()
        # Copies, because the next step will write to the optimizer's own.
        values = iter([param.detach().clone() for param in live.params])
        return tree.map(lambda _: next(values), meta)

    def _make(self, params: list[Tensor]) -> OptimizerState:
        kind = _member(torch.optim, self.name, torch.optim.Optimizer)
        if "lr" in self.kwargs:
            raise ConfigError("optimizer.kwargs has lr: give optimizer.learning_rate instead.")
        settings = {"lr": self.learning_rate, **self.kwargs}
        optimizer = _call(lambda: kind(params, **settings), self.name, settings)
        if self.schedule is None:
            if self.schedule_kwargs:
                raise ConfigError(
                    f"optimizer.schedule_kwargs {self.schedule_kwargs} are for a schedule, but "
                    "optimizer.schedule is None: name one."
                )
            return OptimizerState(params, optimizer, None)
        schedulers = torch.optim.lr_scheduler
        schedule = _member(schedulers, self.schedule, schedulers.LRScheduler)
        arguments = self.schedule_kwargs
        made = _call(lambda: schedule(optimizer, **arguments), self.schedule, arguments)
        return OptimizerState(params, optimizer, made)


class OptimizerState(NamedTuple):
    """A torch optimizer at work: it changes in place."""

    params: list[Tensor]  # its own copies of the meta-parameters
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler | None

    @property
    def learning_rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def advance(self) -> None:
        """One iteration of the schedule, if there is one."""
        if self.schedule is not None:
            self.schedule.step()


def _copied(value: Any) -> Any:
    """A deep copy; Python's own takes some ten times as long over tensors."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) is dict:
        return {name: _copied(part) for name, part in value.items()}
    if type(value) is list:
        return [_copied(part) for part in value]
    return copy.deepcopy(value)


Kind = TypeVar("Kind")
Made = TypeVar("Made")

_TRIALS = 3
"""Steps that show what an optimizer's arguments do."""
_FORESEEN = 1_000_000
"""Iterations that a schedule is run for before training, a minute at most."""

UNFIT = {"LBFGS", "SparseAdam", "ReduceLROnPlateau"}
"""Classes that need more than one dense gradient a step, or a metric."""


def _member(module: ModuleType, name: str, base: type[Kind]) -> type[Kind]:
    """The class `name` of a torch module.

    Raises:
        ConfigError: an unknown name.
    """
    names = {
        key
        for key, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base
    } - UNFIT
    if name not in names:
        raise ConfigError(f"{module.__name__} has no {name!r}: use {', '.join(sorted(names))}.")
    return getattr(module, name)


def _call(action: Callable[[], Made], name: str | None, arguments: StateDict) -> Made:
    """`action()`, with whatever it raises told as bad arguments of the class `name`."""
    try:
        return action()
    except Exception as problem:  # what torch's classes raise for bad arguments is anything
        raise ConfigError(f"{name} does not take {arguments}: {problem}") from problem
