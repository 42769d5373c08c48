"""What all methods have in common; a file of `algorithms/` says what is different about one.

An algorithm is MAML with something replaced: what is meta-learned (`init_meta`), where adaptation
starts (`start`), its step (`step`), how derivatives come back through it (`adjoint`), what the
outer step minimizes (`outer_loss`), or the outer step itself (`update`). Everything else
(sampling, training, evaluation, the trust region) sees `Algorithm` alone and knows none by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor

from rlmaml import losses
from rlmaml.adjoints import unrolled
from rlmaml.inner import gradient_descent
from rlmaml.objective import Objective
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.returns import Reduction
from rlmaml.types import (
    Adjoint,
    Data,
    InnerLoop,
    Iterates,
    Meta,
    MetaBatch,
    Metrics,
    Params,
    Policy,
    State,
)


@dataclass(frozen=True)
class InnerConfig:
    """The inner loop: how a model adapts to one task."""

    steps: int = 1
    """Inner steps K, on fresh episodes each or all on the same examples; 0 trains on the average
    task."""
    step_size: float = 0.1
    """α of the inner gradient step; refers to the mean over time steps or examples."""
    later_step_size: float | None = None
    """α of the steps after the first; None is step_size. The MAML paper's evaluation halves it."""
    surrogate: Literal["log-likelihood", "lvc", "dice"] = "lvc"
    """What the steps descend (data episodes): the MAML paper's, ProMP's low-variance-curvature, or
    DiCE. The step is the same; what comes back through it differs (docs/meta_gradients.md)."""
    reduction: Reduction = "steps"
    """Mean over time steps, or sum over an episode and mean over episodes: then the same step_size
    makes a step T times as long."""
    hessian: Literal["support", "separate"] = "support"
    """Data for the derivative of a step: those of the step, or as many more, independent of them
    (Fallah et al. 2020, algorithm 1)."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"inner.steps must be zero or more, got {self.steps}.")
        for name in ("step_size", "later_step_size"):
            size = getattr(self, name)
            if size is not None and not size > 0:
                raise ValueError(f"inner.{name} must be positive, got {size}.")

    def size(self, k: int) -> float:
        """α of step k."""
        return self.step_size if k == 0 or self.later_step_size is None else self.later_step_size

    @property
    def chooses_loss(self) -> bool:
        """Whether a policy-gradient loss is asked for other than the usual one."""
        return (self.surrogate, self.reduction) != (InnerConfig.surrogate, InnerConfig.reduction)


@dataclass(frozen=True)
class AlgorithmSettings:
    """What a method can be told beside the inner loop and the outer step: nothing, here."""


NO_SEPARATE_HESSIAN = (
    "the derivative of a step by its learned size is the gradient that it went down, and data of "
    "their own would put another in its place."
)
"""Why methods that learn step sizes take no `inner.hessian separate`."""


class Setup(NamedTuple):
    """What a method is to be used with, for `Algorithm.check` to refuse."""

    settings: Any  # the method's own `Settings`
    inner: InnerConfig
    outer: TrustRegion | Optimizer
    from_rewards: bool = True  # learn from rewards, or else from labeled examples
    tasks: int | None = None  # N, where it is known
    normalized: bool | None = None  # whether outer advantages are
    per_task: int | None = None  # B episodes of a task, where it is known
    ragged: bool = False  # a task may have more of them, where they end early


class DataSpec(NamedTuple):
    """What is to be collected for a meta-update."""

    steps: int  # K
    separate_hessian: bool = False  # as many data again for the derivative of every inner step
    fresh_support: bool = False  # examples of its own for every inner step, as episodes have
    task_copies: int = 1  # how often each task is drawn
    class_labels: bool = False  # training classes have labels of their own, the same in all tasks


class Algorithm:
    """A method: what is meta-learned, what to collect for it, and the update.

    Args:
        policy: (parameters of the network, inputs) -> distribution.
        inner: the inner loop's settings.
        outer: the outer step, a `TrustRegion` or an `Optimizer`; the method's usual one if None.
        settings: of the method's own, an instance of its `Settings`.
        inner_loss: makes the inner loss of a policy, in place of `inner.surrogate`: `losses.mse`
            or `losses.cross_entropy` for labeled examples.
        outer_loss: makes the outer loss of a policy, in place of the likelihood ratio; as above.
        outer_reduction: of the likelihood ratio, as `inner.reduction` is of the surrogate.
        chunk_size: tasks per stacked computation; None is all at once. Small chunks stay in
            a CPU's cache, a GPU wants one big one.

    Attributes:
        policy: (adapted parameters φ, inputs) -> distribution.
        inner: the inner loop.
        episodes: whether it learns from rewards, or else from labeled examples.

    Raises:
        ValueError: settings that do not go together.
    """

    Settings: ClassVar[type[AlgorithmSettings]] = AlgorithmSettings
    """A frozen dataclass, a sentence per field: options `--algorithm-settings.NAME` of the
    command line."""
    needs_optimizer: ClassVar[str] = ""
    """Why the outer step cannot be a trust region; empty if it can."""
    needs_episodes: ClassVar[str] = ""
    """Why the method cannot learn from labeled examples; empty if it can."""
    off_policy_inner: ClassVar[bool] = False
    """Whether it goes on from the parameters that sampled, for which `inner.surrogate`
    log-likelihood does not correct: presets with it are usually changed to lvc."""
    no_separate_hessian: ClassVar[str] = ""
    """Why `inner.hessian separate` makes no sense; empty if it does."""
    starts_from: ClassVar[str] = ""
    """The method whose run this one is to start from (`--init`); empty if from scratch."""

    def __init__(
        self,
        policy: Policy,
        inner: InnerConfig | None = None,
        outer: TrustRegion | Optimizer | None = None,
        settings: Any = None,
        *,
        inner_loss: Callable[[Policy], losses.Loss] | None = None,
        outer_loss: Callable[[Policy], losses.Loss] | None = None,
        outer_reduction: Reduction = "steps",
        chunk_size: int | None = None,
    ) -> None:
        self.settings: Any = self.Settings() if settings is None else settings
        self.inner_config = inner or InnerConfig()
        self.outer: Any = outer or self.default_outer(self.settings)
        self.from_rewards = inner_loss is None
        self.check(Setup(self.settings, self.inner_config, self.outer, self.from_rewards))
        if inner_loss is not None and self.inner_config.chooses_loss:
            raise ValueError(
                "inner.surrogate and inner.reduction choose a policy-gradient loss, and inner_loss "
                "is another: leave one of them out."
            )
        if inner_loss is None:
            surrogate = losses.SURROGATES[self.inner_config.surrogate]
            inner_loss = partial(surrogate, reduction=self.inner_config.reduction)
        if outer_loss is None:
            outer_loss = partial(losses.likelihood_ratio, reduction=outer_reduction)
        self.outer_reduction: Reduction = outer_reduction
        self.chunk_size = chunk_size
        self.policy = self.wrap(policy)
        self.inner_loss, self.loss = inner_loss(self.policy), outer_loss(self.policy)
        self.inner = InnerLoop(self.start, self.step)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Whether settings go together. A method with more to refuse extends this.

        Raises:
            ValueError: they do not; with the reason and what to take.
        """
        name = cls.__name__
        if not setup.from_rewards and cls.needs_episodes:
            raise ValueError(f"{name} is for episodes: {cls.needs_episodes}")
        if isinstance(setup.outer, TrustRegion) and cls.needs_optimizer:
            raise ValueError(
                f"{name} takes no trust region: {cls.needs_optimizer} Take outer optimizer (in "
                "Python, outer=Optimizer())."
            )
        if setup.inner.later_step_size is not None and cls.learns_step_sizes(setup.settings):
            raise ValueError(
                f"inner.later_step_size {setup.inner.later_step_size} does not go with {name}, "
                "which learns its step sizes from inner.step_size on: leave it out."
            )
        if setup.inner.hessian == "separate" and cls.no_separate_hessian:
            raise ValueError(
                f"inner.hessian separate does not go with {name}: {cls.no_separate_hessian} Take "
                "inner.hessian support."
            )

    @classmethod
    def learns_step_sizes(cls, settings: Any) -> bool:
        """Whether `inner.step_size` is only where the step sizes begin."""
        return False

    @classmethod
    def default_outer(cls, settings: Any) -> TrustRegion | Optimizer:
        """The outer step where none is given, in Python."""
        return Optimizer() if cls.needs_optimizer else TrustRegion()

    @classmethod
    def default_overrides(cls, config: Any, settings: Any) -> dict[str, Any]:
        """How a run's settings are usually changed when it is trained with this method.

        Args:
            config: the settings, `runners.config.TrainConfig`, with `preset`, `iterations` and so
                on.
            settings: the method's own.

        Returns:
            Values by the name of the option, e.g. {"inner.steps": 5, "outer": "optimizer"}.
        """
        overrides = {"outer": "optimizer"} if cls.needs_optimizer else {}
        corrected = not cls.off_policy_inner or config.data != "episodes"
        if not corrected and config.inner.surrogate == "log-likelihood":
            overrides["inner.surrogate"] = "lvc"
        return overrides

    # What a method may replace.

    adjoint: Adjoint = staticmethod(unrolled)
    """How derivatives come back through the adaptation."""

    curvature: Adjoint | None = None
    """The same for the trust region's curvature, which needs a Jacobian that is a linear map; None
    is `adjoint`."""

    def wrap(self, policy: Policy) -> Policy:
        """The policy of adapted parameters, given that of the network's own."""
        return policy

    def network(self, params: Params) -> Params | None:
        """The network's own parameters that act like adapted ones; None if there are none."""
        return params

    def init_meta(self, params: Params) -> Meta:
        """The meta-parameters to begin with, given the network's initial parameters."""
        return {"params": params}

    def warm_start(self, loaded: Meta, built: Meta) -> Meta:
        """The meta-parameters to begin with where a run of this or another method left `loaded`.

        Args:
            loaded: that run's meta-parameters.
            built: those of `init_meta`.

        Returns:
            "params" from `loaded`; of other groups what has the same name and shape in both, and
            the rest from `built`. Whether "params" are those of `built` is not checked here.
        """

        def taken(group: str, name: str, value: Tensor) -> Tensor:
            found = loaded.get(group, {}).get(name, value)
            return found if found.shape == value.shape else value

        same = {
            group: {name: taken(group, name, value) for name, value in part.items()}
            for group, part in built.items()
        }
        return same | {"params": loaded["params"]}

    @property
    def data_spec(self) -> DataSpec:
        """What is to be collected."""
        return DataSpec(
            self.inner_config.steps, separate_hessian=self.inner_config.hessian == "separate"
        )

    def start(self, meta: Meta) -> Params:
        """φ_0."""
        return meta["params"]

    def adapts(self, params: Params) -> Iterable[str]:
        """The names of the parameters that `step` moves."""
        return params

    def step(self, meta: Meta, params: Params, data: Data, k: int) -> Params:
        """φ_{k+1} from φ_k = params, on one task's data."""
        descent = gradient_descent(
            self.inner_loss,
            self.inner_config.step_size,
            self.inner_config.later_step_size,
            self.adapts,
        )
        return descent.step(meta, params, data, k)

    def outer_loss(self, iterates: Iterates, data: MetaBatch) -> Tensor:
        """What is minimized, of one task; path is φ_0 .. φ_K."""
        return self.loss(iterates[-1], data.query)

    def objective(self, state: State) -> Objective:
        """The meta-objective, at a point of the training."""
        return Objective(
            self.inner, self.adjoint, self.outer_loss, self.policy, self.chunk_size, self.curvature
        )

    def prepare(self, batch: MetaBatch) -> MetaBatch:
        """Fill in what a task's outer loss has to know of the other tasks."""
        return batch

    def init(self, params: Params) -> State:
        """The state to begin with: initial parameters, and an outer step that has seen nothing."""
        return self.restore(self.init_meta(params))

    def restore(self, meta: Meta, saved: dict[str, Any] | None = None) -> State:
        """A state from meta-parameters and what `saved` gave, if anything."""
        return State(meta, self.outer.init(meta, saved), (saved or {}).get("iteration", 0))

    def saved(self, state: State) -> dict[str, Any]:
        """What of a state is not in its meta-parameters: tensors, numbers, containers of them."""
        return {"iteration": state.iteration, **self.outer.saved(state.outer)}

    def update(self, state: State, batch: MetaBatch) -> tuple[State, Metrics]:
        """One outer step. `batch` was collected with `state.meta`; its leaves are [N, ...]."""
        new, metrics = self.outer.update(self.objective(state), state, self.prepare(batch))
        return new._replace(iteration=state.iteration + 1), metrics
