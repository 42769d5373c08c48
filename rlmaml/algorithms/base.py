"""The base of all algorithms; a file of `algorithms/` says what is different about one.

An algorithm is MAML with something replaced: what is meta-learned (`init_meta`), where adaptation
starts (`start`), its step (`step`), how derivatives come back through it (`adjoint`), what the
outer step minimizes (`outer_loss`), or the outer step itself (`update`). Everything else
(sampling, training, evaluation, the trust region) sees `Algorithm` alone and knows none by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from rlmaml import losses, models, tree
from rlmaml.adjoints import unrolled
from rlmaml.algorithms.requirements import Requires, require_outer
from rlmaml.algorithms.settings import (
    AlgorithmContext,
    AlgorithmSettings,
    DataSpec,
    InnerConfig,
    Overrides,
    RunConfig,
)
from rlmaml.distributions import described
from rlmaml.errors import ConfigError
from rlmaml.inner import gradient_descent, with_later_steps
from rlmaml.objective import Objective
from rlmaml.outer.base import (
    OUTER_CAPABILITIES,
    OuterStep,
)
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.remembering import Remembered
from rlmaml.returns import Reduction
from rlmaml.torch_state import differentiating, making_tensors
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
    StateDict,
)
from rlmaml.values import check_values


class Algorithm:
    """An algorithm: what is meta-learned, what to collect for it, and the update.

    Args:
        policy: (parameters of the network, inputs) -> distribution.
        inner: the inner loop's settings.
        outer: the outer step; `default_outer` if None.
        settings: the algorithm's own, an instance of its `Settings`.
        inner_loss: makes the inner loss of a policy, in place of `inner.surrogate`: `losses.mse`
            or `losses.cross_entropy` for labeled examples.
        outer_loss: makes the outer loss of a policy, in place of the likelihood ratio; as above.
        outer_reduction: of the likelihood ratio, as `inner.reduction` is of the surrogate.
        chunk_size: tasks per stacked computation; None is all at once. Small chunks stay in
            a CPU's cache, a GPU wants one big one.

    Attributes:
        policy: (adapted parameters φ, inputs) -> distribution.
        inner: the inner loop.
        inner_config: its settings.
        make_inner_loss: makes the inner loss of a policy.
        outer: the outer step that `update` takes.
        from_rewards: whether it learns from rewards, or else from labeled examples.

    Raises:
        ConfigError: settings that do not go together.
    """

    Settings: ClassVar[type[AlgorithmSettings]] = AlgorithmSettings
    """A frozen dataclass, a sentence per field: options `--algorithm-settings.NAME` of the
    command line."""
    requires: ClassVar[Requires] = {}
    """Requirements of the algorithm, each with the reason that a refusal gives."""
    off_policy_inner: ClassVar[bool] = False
    """True if it goes on from the parameters that sampled, for which `inner.surrogate`
    log-likelihood does not correct: by default a run with it is changed to lvc."""
    starts_from: ClassVar[str] = ""
    """The algorithm whose run this one is to start from (`--init`); empty if from scratch."""

    def __init__(
        self,
        policy: Policy,
        inner: InnerConfig | None = None,
        outer: OuterStep | None = None,
        settings: AlgorithmSettings | None = None,
        *,
        inner_loss: Callable[[Policy], losses.Loss] | None = None,
        outer_loss: Callable[[Policy], losses.Loss] | None = None,
        outer_reduction: Reduction = "steps",
        chunk_size: int | None = None,
    ) -> None:
        models.check_learns(policy)
        given = policy, inner, outer, settings, inner_loss, outer_loss, outer_reduction, chunk_size
        self._given = given
        self.settings: Any = self.Settings() if settings is None else settings
        self.inner_config = inner or InnerConfig()
        self.outer: OuterStep = outer or self.default_outer(self.settings)
        self.from_rewards = inner_loss is None
        check_values(self.settings, "algorithm_settings.")
        if dataclasses.is_dataclass(self.outer):
            check_values(self.outer, "outer.")
        self.check(
            AlgorithmContext(
                settings=self.settings,
                inner=self.inner_config,
                outer=self.outer,
                from_rewards=self.from_rewards,
            )
        )
        name, own_loss = type(self).__name__, self.requires.get("default-outer-loss")
        if outer_loss is not None and own_loss is not None:
            raise ConfigError(f"{name} takes no outer_loss: {own_loss} Leave out outer_loss.")
        if inner_loss is not None and self.inner_config.chooses_loss:
            raise ConfigError(
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
        self._asked = Remembered(self.policy)
        self.make_inner_loss = inner_loss
        self.inner_loss, self.loss = inner_loss(self.policy), outer_loss(self._asked)
        share, trained = self.inner_config.later_step_share, max(1, self.inner_config.steps)
        loop = InnerLoop(self.start, self.step)
        self.inner = with_later_steps(loop, share, trained, self.adapts)
        self.complete()

    def __reduce_ex__(self, protocol: Any) -> Any:
        if type(self).__init__ is not Algorithm.__init__:
            return super().__reduce_ex__(protocol)
        return _again, (type(self), *self._given)

    @classmethod
    def check(cls, context: AlgorithmContext) -> None:
        """Refuse settings that do not go together. An algorithm with more to refuse extends this.

        Raises:
            ConfigError: a requirement that is not met; with the reason and what to take.
        """
        name, inner, requires = cls.__name__, context.inner, cls.requires
        if "episodes" in requires and not context.from_rewards:
            raise ConfigError(
                f"{name} is for episodes: {requires['episodes']} Take data episodes, or another "
                "algorithm."
            )
        for capability in OUTER_CAPABILITIES:
            if capability in requires:
                require_outer(context.outer, capability, name, requires[capability])
        if "gradient-only" in requires and inner.before_weight:
            raise ConfigError(
                f"inner.before_weight {inner.before_weight} does not go with {name}: "
                f"{requires['gradient-only']} Leave it out."
            )
        if "support-hessian" in requires and inner.hessian != "support":
            raise ConfigError(
                f"inner.hessian {inner.hessian} does not go with {name}: "
                f"{requires['support-hessian']} Take inner.hessian support."
            )

    @classmethod
    def learns_step_sizes(cls, settings: AlgorithmSettings) -> bool:
        """True if `inner.step_size` is only where the step sizes begin."""
        return False

    @classmethod
    def default_outer(cls, settings: AlgorithmSettings) -> OuterStep:
        """The outer step where none is given, in Python."""
        return Optimizer() if cls._requires_of_outer() else TrustRegion()

    @classmethod
    def default_overrides(cls, config: RunConfig, settings: AlgorithmSettings) -> Overrides:
        """Changes that this algorithm makes to a run's settings unless told otherwise.

        Args:
            config: the settings without it.
            settings: the algorithm's own.

        Returns:
            Values by the name of the option.
        """
        overrides: Overrides = {"outer": "optimizer"} if cls._requires_of_outer() else {}
        if "gradient-only" in cls.requires and config.inner.before_weight:
            overrides["inner.before_weight"] = 0.0
        off_policy = cls.off_policy_inner and config.data == "episodes"
        if off_policy and config.inner.surrogate == "log-likelihood":
            overrides["inner.surrogate"] = "lvc"
        return overrides

    @classmethod
    def tried(cls, config: RunConfig) -> dict[str, tuple[Any, ...]]:
        """Values of options that `rlmaml compare --trials` draws from, by the options' names.

        It varies the sizes of inner steps and the rate of the outer step of all algorithms, and
        with examples the number of inner steps. Here is what else matters to this one.

        Args:
            config: the settings with it.
        """
        return {}

    @classmethod
    def _requires_of_outer(cls) -> bool:
        return any(capability in cls.requires for capability in OUTER_CAPABILITIES)

    # What an algorithm may replace.

    def complete(self) -> None:
        """Make what needs the losses: an adjoint or an outer step of the algorithm's own.

        Called once, at the end of `__init__`.
        """

    adjoint: Adjoint = staticmethod(unrolled)
    """Adjoint of the adaptation: how derivatives come back through it."""

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
        """The meta-parameters to begin with where a run of this or another algorithm left `loaded`.

        Args:
            loaded: that run's meta-parameters.
            built: those of `init_meta`.

        Returns:
            "params" from `loaded`; of other groups what has the same name and shape in both, and
            the rest from `built`. Whether "params" are those of `built` is not checked here.
        """

        def taken(group: str, name: str, value: Tensor) -> Tensor:
            candidate = loaded.get(group, {}).get(name, value)
            return candidate if candidate.shape == value.shape else value

        same = {
            group: {name: taken(group, name, value) for name, value in part.items()}
            for group, part in built.items()
        }
        return same | {"params": loaded["params"]}

    @property
    def data_spec(self) -> DataSpec:
        """The data to collect for a meta-update."""
        inner = self.inner_config
        return DataSpec(
            inner.steps,
            separate_hessian=inner.hessian == "separate",
            before=inner.before_weight > 0 and inner.steps > 0,
        )

    def start(self, meta: Meta) -> Params:
        """φ_0."""
        return meta["params"]

    def adapts(self, params: Params) -> Iterable[str]:
        """The names of the parameters that `step` moves."""
        return params

    def step(self, meta: Meta, params: Params, data: Data, k: int) -> Params:
        """φ_{k+1} from φ_k = params, on one task's data."""
        descent = gradient_descent(self.inner_loss, self.inner_config.step_size, self.adapts)
        return descent.step(meta, params, data, k)

    def outer_loss(self, iterates: Iterates, data: MetaBatch) -> Tensor:
        """The loss that is minimized, of one task.

        Args:
            iterates: φ_0 .. φ_K.
            data: one task's.
        """
        loss = self.loss(iterates[-1], data.query)
        if self.data_spec.before:
            loss = loss + self.inner_config.before_weight * self.loss(iterates[0], data.before)
        return loss

    def objective(self, state: State) -> Objective:
        """The meta-objective, at a point of the training."""
        return Objective(
            self.inner, self.adjoint, self.outer_loss, self._asked, self.chunk_size, self.curvature
        )

    def signs(self, meta: Meta, batch: MetaBatch) -> Metrics:
        """Further metrics of an iteration that is logged, by the parameters that it began with.

        Every process is asked alike.
        """
        return {}

    def prepare(self, batch: MetaBatch) -> MetaBatch:
        """Fill in what a task's outer loss has to know of the other tasks."""
        return batch

    @making_tensors
    def init(self, params: Params) -> State:
        """The state to begin with: initial parameters, and an outer step that has seen nothing."""
        return self.initial_state(self.init_meta(params))

    @making_tensors
    def initial_state(self, meta: Meta) -> State:
        """The state to begin with from given meta-parameters.

        Raises:
            ConfigError: parameters that the outer step does not take.
        """
        return State(meta, self.outer.init(meta))

    def state_dict(self, state: State) -> StateDict:
        """The part of a state beside its meta-parameters: tensors, numbers, containers of them.

        Returns:
            {"iteration": updates done, and what the outer step's `state_dict` has}.
        """
        return {"iteration": state.iteration, **self.outer.state_dict(state.outer)}

    @making_tensors
    def load_state_dict(self, meta: Meta, saved: StateDict) -> State:
        """The state of meta-parameters and what `state_dict` gave.

        Raises:
            KeyError, ValueError, RuntimeError: the state of another outer step.
        """
        return State(meta, self.outer.load_state_dict(meta, saved), saved.get("iteration", 0))

    @differentiating
    def update(self, state: State, batch: MetaBatch) -> tuple[State, Metrics]:
        """One outer step. `batch` was collected with `state.meta`; its leaves are [N, ...].

        Raises:
            ConfigError: a network without the derivatives that the algorithm takes.
        """
        state, batch = state._replace(meta=tree.ordinary(state.meta)), tree.ordinary(batch)
        try:
            updated: Any = self.outer.update(self.objective(state), state, self.prepare(batch))
        except RuntimeError as problem:
            refusal = models.explained(problem)
            if refusal is None:
                raise
            raise refusal from problem
        if not (isinstance(updated, tuple) and len(updated) == 2 and isinstance(updated[0], State)):
            raise ConfigError(
                f"{type(self.outer).__name__}.update must return (state, metrics), the state a "
                f"rlmaml.types.State; it returned {described(updated)}."
            )
        new, metrics = updated
        return new._replace(iteration=state.iteration + 1), metrics


def _again(kind: type[Algorithm], *given: Any) -> Algorithm:
    """An algorithm as it was made: its losses are functions that do not pickle."""
    policy, inner, outer, settings, inner_loss, outer_loss, reduction, chunk_size = given
    losses_given = {"inner_loss": inner_loss, "outer_loss": outer_loss}
    rest = {"outer_reduction": reduction, "chunk_size": chunk_size}
    return kind(policy, inner, outer, settings, **losses_given, **rest)
