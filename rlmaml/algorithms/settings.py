"""Settings of an algorithm: the inner loop, its own, and what it is used with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from rlmaml.errors import ConfigError
from rlmaml.outer.base import OuterStep
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.returns import Reduction
from rlmaml.values import check_values


@dataclass(frozen=True)
class InnerConfig:
    """The inner loop: how a model adapts to one task."""

    limits: ClassVar[dict[str, float]] = {"steps": 10_000, "before_weight": 1e6}

    steps: int = 1
    """Inner steps K, on fresh episodes each or all on the same examples; 0 trains on the average
    task."""
    step_size: float = 0.1
    """α of the inner gradient step; refers to the mean over time steps or examples."""
    later_step_share: float = 1.0
    """Length of further steps than the K of training, as a share of what they would be. Nothing has
    taught a policy to take them; the MAML paper's evaluation halves them."""
    surrogate: Literal["log-likelihood", "lvc", "dice"] = "lvc"
    """Surrogate that the steps descend (data episodes): the MAML paper's, ProMP's
    low-variance-curvature, or DiCE. The step is the same; what comes back through it differs
    (docs/meta_gradients.md)."""
    reduction: Reduction = "steps"
    """Mean over time steps, or sum over an episode and mean over episodes: then the same step_size
    makes a step T times as long."""
    hessian: Literal["support", "separate"] = "support"
    """Data for the derivative of a step: those of the step, or as many more, independent of them
    (Fallah et al. 2020, algorithm 1)."""
    before_weight: float = 0.0
    """Weight, in the outer loss, of the loss before adaptation beside that after it. With 0, as in
    MAML, it does not count what is done before: a robot may fall at once, and learn from that."""

    def __post_init__(self) -> None:
        check_values(self, "inner.")
        if self.steps < 0:
            raise ConfigError(f"inner.steps must be zero or more, got {self.steps}.")
        for name in ("step_size", "later_step_share"):
            size = getattr(self, name)
            if not size > 0:
                raise ConfigError(f"inner.{name} must be positive, got {size}.")
        if not self.before_weight >= 0:
            raise ConfigError(
                f"inner.before_weight must be zero or positive, got {self.before_weight}."
            )

    @property
    def chooses_loss(self) -> bool:
        """True if a policy-gradient loss other than the default is asked for."""
        return (self.surrogate, self.reduction) != (InnerConfig.surrogate, InnerConfig.reduction)


@dataclass(frozen=True)
class AlgorithmSettings:
    """Settings of an algorithm beside the inner loop and the outer step: none, here."""

    limits: ClassVar[dict[str, float]] = {}
    """Magnitudes that numbers of some fields do not exceed, by name (`rlmaml.values`)."""


@dataclass(frozen=True, kw_only=True)
class AlgorithmContext:
    """The things that an algorithm is to be used with, for `Algorithm.check` to refuse."""

    settings: Any
    """The algorithm's own, an instance of its `Settings`."""
    inner: InnerConfig
    """The inner loop."""
    outer: OuterStep
    """The outer step."""
    from_rewards: bool = True
    """Learn from the rewards of episodes, or else from labeled examples."""
    tasks: int | None = None
    """Tasks N per meta-iteration; None where they are not known."""
    episodes: int | None = None
    """Episodes B per task; None where they are not known."""
    ragged: bool = False
    """A task may have more than B episodes, where they end early."""
    normalized_advantages: bool | None = None
    """True if outer advantages are normalized; None where that is not known."""


class RunConfig(Protocol):
    """The fields of a run's configuration that `Algorithm.default_overrides` may look at."""

    @property
    def data(self) -> Literal["episodes", "examples"]: ...
    @property
    def iterations(self) -> int: ...
    @property
    def episodes(self) -> int: ...
    @property
    def chunk_size(self) -> int | str | None: ...
    @property
    def inner(self) -> InnerConfig: ...
    @property
    def outer(self) -> str: ...
    @property
    def trust_region(self) -> TrustRegion: ...
    @property
    def optimizer(self) -> Optimizer: ...


Overrides = dict[str, Any]
"""Values of options by name, e.g. {"inner.steps": 5, "outer": "optimizer"}."""


class DataSpec(NamedTuple):
    """The data to collect for a meta-update."""

    steps: int  # K
    separate_hessian: bool = False  # as many data again for the derivative of every inner step
    fresh_support: bool = False  # examples of its own for every inner step, as episodes have
    task_copies: int = 1  # how often each task is drawn
    before: bool = False  # what the first step learns from as the outer loss sees it, too
    class_labels: bool = False  # training classes have labels of their own, the same in all tasks
