"""A run's configuration: plain frozen dataclasses, a sentence per field, checked when made.

On disk it is JSON. The command line makes its options from these fields and their sentences.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from rlmaml import algorithms, trust
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.settings import AlgorithmContext, AlgorithmSettings, InnerConfig
from rlmaml.errors import ConfigError
from rlmaml.json_dataclasses import from_dict, made, refusals_explained
from rlmaml.migration import migrate_config
from rlmaml.models.conv import ConvConfig
from rlmaml.models.mlp import PolicyConfig
from rlmaml.models.text import TextConfig
from rlmaml.outer.base import OuterStep, get_outer_step
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.returns import Reduction
from rlmaml.values import check_values

Options = dict[str, Any]
"""Values by the name of their option: {"inner.steps": 5, "outer": "optimizer"}."""

_NAMED_OUTER_STEPS = {"trust-region": "trust_region", "optimizer": "optimizer"}
"""Outer steps that have fields of their own, since presets set both; others share one."""
DEFAULT_ALGORITHM = next(iter(algorithms.TABLE))
"""The algorithm that a run has unless told otherwise."""


@dataclass(frozen=True)
class EnvConfig:
    """The task family."""

    limits: ClassVar[dict[str, float]] = {
        "train_tasks": 1_000_000,
        "test_tasks": 1_000_000,
        "tasks_seed": 2**128,
    }

    id: str = "rlmaml/HalfCheetahDir-v0"
    """Gymnasium id; `module:id` imports the module first, for environments of your own."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of the environment's constructor, as a JSON object."""
    vectorization: Literal["auto", "batched", "sync", "async", "warp"] = "auto"
    """The way that copies run: the id's own batched version, Gymnasium's Sync- or AsyncVectorEnv,
    or, of robots, MuJoCo Warp (docs/gpu.md); auto takes the batched version where there is one."""
    observe_task: bool = False
    """Show the task to the policy, beside the observation: the oracle of comparisons."""
    rescale_actions: bool = False
    """Scale what the policy does from [-1, 1] to the bounds of the actions, which are a Box."""
    train_tasks: int | None = None
    """Tasks to train on, a list drawn once; new ones in every iteration if not given."""
    test_tasks: int | None = None
    """Tasks to evaluate on, a list drawn once; new ones if not given."""
    tasks_seed: int = 0
    """Draws those lists, so that runs of several seeds have the same."""

    def __post_init__(self) -> None:
        check_values(self, "env.")
        for name in ("train_tasks", "test_tasks"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ConfigError(f"env.{name} is {count}: at least 1, or leave it out.")
        if self.tasks_seed < 0:
            raise ConfigError(f"env.tasks_seed is {self.tasks_seed}: at least 0.")


@dataclass(frozen=True)
class ExamplesConfig:
    """Labeled examples, where a run learns from those."""

    limits: ClassVar[dict[str, float]] = {"shots": 1_000_000, "queries": 1_000_000}

    shots: int = 10
    """Support examples K of a task; in classification, per class."""
    queries: int = 10
    """Query examples of a task; in classification, per class."""

    def __post_init__(self) -> None:
        check_values(self, "examples.")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run computes."""

    limits: ClassVar[dict[str, float]] = {
        "iterations": 100_000_000,
        "tasks": 1_000_000,
        "episodes": 1_000_000,
        "horizon": 10_000_000,
        "seed": 2**128,
        "threads": 4096,
        "validation_tasks": 1_000_000,
    }

    preset: str = "custom"
    """The name of the ready-made configuration that this began as."""
    env: EnvConfig = field(default_factory=EnvConfig)
    """The task family."""
    data: Literal["episodes", "examples"] = "episodes"
    """Learn from the rewards of episodes by policy gradients, or from labeled examples."""
    algorithm: str = DEFAULT_ALGORITHM
    """The algorithm: a name of `rlmaml list`, or MODULE:CLASS of your own."""
    algorithm_settings: AlgorithmSettings = field(
        default_factory=algorithms.get_algorithm(DEFAULT_ALGORITHM).Settings
    )
    """The algorithm's own settings."""
    iterations: int = 100
    """Meta-iterations to train for."""
    tasks: int = 20
    """Tasks N per meta-iteration."""
    examples: ExamplesConfig = field(default_factory=ExamplesConfig)
    """Labeled examples per task (data examples)."""
    episodes: int = 20
    """Episodes B per task and inner step (data episodes)."""
    horizon: int = 200
    """Time steps T per episode at most (data episodes)."""
    batch_by: Literal["episodes", "steps"] = "episodes"
    """Size of a batch where episodes end early: B of them all the same, or as many as have the B·T
    time steps of B whole ones, 10 B at most; what is drawn beyond is neither used nor counted (data
    episodes)."""
    seed: int = 0
    """All randomness derives from this."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """The policy network, or the network of a regression or a classification of vectors."""
    conv: ConvConfig = field(default_factory=ConvConfig)
    """The network of a classification of images."""
    text: TextConfig = field(default_factory=TextConfig)
    """The network of a classification of texts."""
    inner: InnerConfig = field(default_factory=InnerConfig)
    """The inner loop."""
    outer: str = "trust-region"
    """The outer step: trust-region (TRPO), optimizer (of torch.optim, on the meta-gradient), or
    MODULE:CLASS of your own."""
    outer_settings: OuterStep[Any] | None = None
    """The outer step, if it is another than the next two."""
    trust_region: TrustRegion = field(default_factory=TrustRegion)
    """The outer step, if it is a trust region's."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """The outer step, if it is an optimizer's."""
    inner_advantages: AdvantageConfig = field(default_factory=AdvantageConfig)
    """Advantages that the inner steps learn from."""
    outer_advantages: AdvantageConfig = field(default_factory=AdvantageConfig)
    """Advantages that the outer step learns from."""
    outer_reduction: Reduction = "steps"
    """Reduction of the outer surrogate: mean over time steps, or sum over an episode and mean over
    episodes. Where episodes end early only the latter is the return's gradient (data episodes)."""
    normalize_observations: bool = False
    """Standardize observations by running statistics, frozen with each checkpoint."""
    chunk_size: int | Literal["auto"] | None = "auto"
    """Tasks per stacked computation; None is all at once. With auto it is all on a GPU and of
    labeled examples; on a CPU one of 4,000 time steps or more, which fits its cache, or of smaller
    ones as many as have 8,000."""
    device: str = "cpu"
    """Device of learning: cpu, cuda, cuda:1, ..."""
    sampling_device: str = "cpu"
    """Device of acting policies; physics is on the CPU, but for env.vectorization warp."""
    tf32: bool = False
    """On CUDA, round the factors of float32 products to TF32's 10 bits: faster, and gradients are
    off by up to a hundredth (docs/performance.md). Off, all is float32."""
    threads: int = 0
    """CPU threads for physics and learning; 0 is all this process may use."""
    checkpoint_every: int = 10
    """Iterations between checkpoints."""
    log_every: int = 1
    """Iterations per line of metrics.jsonl."""
    max_refused: int = 50
    """Refused outer steps in a row after which training stops, saved; 0 is never."""
    validation_tasks: int = 0
    """Tasks of the family's validation split to measure each checkpoint on, the best one being
    kept; with 0 it is the best in training that is kept."""
    track: tuple[str, ...] = ()
    """Trackers that get the metrics too: wandb, tensorboard and others of `rlmaml track --help`."""

    def __post_init__(self) -> None:
        check_values(self)
        for name in ("tasks", "episodes", "horizon", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("iterations", "seed", "threads", "max_refused", "validation_tasks"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be zero or more, got {getattr(self, name)}.")
        size: object = self.chunk_size
        if size not in (None, "auto") and not (type(size) is int and size >= 1):
            raise ConfigError(f"chunk_size must be at least 1, None or auto, got {size!r}.")
        if self.data == "examples" and self.batch_by != "episodes":
            raise ConfigError("batch_by is for data episodes: labeled examples do not end early.")
        for name in ("inner_advantages", "outer_advantages"):
            if getattr(self, name).baseline == "cross-fitted" and self.episodes < 2:
                raise ConfigError(
                    f"{name}.baseline cross-fitted is fitted on a task's other episodes, and there "
                    "is one: take more episodes, or baseline none."
                )
        self._check_algorithm()

    def _check_algorithm(self) -> None:
        check_values(self.algorithm_settings, "algorithm_settings.")
        if self.outer_settings is not None and dataclasses.is_dataclass(self.outer_settings):
            check_values(self.outer_settings, "outer_settings.")
        named = self.outer in _NAMED_OUTER_STEPS
        if type(self.outer_step) is not get_outer_step(self.outer) or (
            named and self.outer_settings is not None
        ):
            raise ConfigError(
                f"outer_settings holds the settings of another outer step than {self.outer}: "
                "choose one with `with_outer`."
            )
        algorithm = self.algorithm_class
        if type(self.algorithm_settings) is not algorithm.Settings:
            raise ConfigError(
                "algorithm_settings holds the settings of another algorithm than "
                f"{self.algorithm}: choose one with `with_algorithm`."
            )
        context = AlgorithmContext(
            settings=self.algorithm_settings,
            inner=self.inner,
            outer=self.outer_step,
            from_rewards=self.data == "episodes",
            tasks=self.tasks,
            episodes=self.episodes,
            ragged=self.batch_by == "steps",
            normalized_advantages=self.outer_advantages.normalize,
        )
        with refusals_explained(self.algorithm):
            algorithm.check(context)
        if self.data == "examples" and (self.inner.chooses_loss or self.outer_reduction != "steps"):
            raise ConfigError(
                "inner.surrogate, inner.reduction and outer_reduction are for data episodes: "
                "labeled examples do not depend on the parameters, so there is one gradient, and "
                "their loss is given."
            )

    @property
    def algorithm_class(self) -> type[Algorithm]:
        """The class that `algorithm` names."""
        return algorithms.get_algorithm(self.algorithm)

    @property
    def outer_step(self) -> OuterStep[Any]:
        """The outer step that `outer` names, with its settings."""
        field_name = _NAMED_OUTER_STEPS.get(self.outer, "outer_settings")
        return getattr(self, field_name)

    def with_outer(self, name: str) -> TrainConfig:
        """The same run with another outer step, of default settings if it is one of your own.

        Raises:
            ConfigError: an unknown outer step, or one that does not go with the rest.
        """
        return self.changed({"outer": name})

    @property
    def tasks_per_chunk(self) -> int | None:
        """Tasks per stacked computation, None for all: `chunk_size`, with auto made a number."""
        if self.chunk_size != "auto":
            return self.chunk_size
        if self.data == "examples" or self.device != "cpu":
            return None
        steps = self.episodes * self.horizon
        return 1 if steps >= 4000 else max(1, 8000 // steps)

    def with_algorithm(self, name: str, settings: AlgorithmSettings | None = None) -> TrainConfig:
        """The same run by another algorithm, with that algorithm's default overrides.

        Args:
            name: of the algorithm.
            settings: its own; its defaults if None.

        Raises:
            ConfigError: an unknown algorithm, or one that does not go with the rest.
        """
        algorithm = algorithms.get_algorithm(name)
        settings = settings or algorithm.Settings()
        own: Options = {"algorithm": name, "algorithm_settings": settings}
        return self.changed(own | algorithm.default_overrides(self, settings))

    def for_evaluation(self) -> TrainConfig:
        """The same run as it is measured.

        An evaluation takes neither derivatives of inner steps nor curvature, and it may have many
        more tasks than training found room for at once.
        """
        return dataclasses.replace(
            self,
            inner=dataclasses.replace(self.inner, hessian="support"),
            trust_region=dataclasses.replace(self.trust_region, fisher_fraction=1.0),
            chunk_size=self.tasks_per_chunk or self.tasks,
        )

    def changed(self, options: Options) -> TrainConfig:
        """The configuration with other values for some options, by name (`inner.steps`).

        Another outer step of your own ("outer") has its default settings, but for those given.

        Raises:
            ConfigError: values that do not go together.
        """
        values = {name: value for name, value in options.items() if "." not in name}
        outer = values.get("outer", self.outer)
        if outer != self.outer and "outer_settings" not in values:
            own = outer not in _NAMED_OUTER_STEPS
            values["outer_settings"] = made(get_outer_step(outer)) if own else None
        parts: dict[str, Options] = {}
        for option in options.keys() - values.keys():
            group, _, member = option.partition(".")
            parts.setdefault(group, {})[member] = options[option]
        for group, members in parts.items():  # all at once, since each may need the others
            part = values.get(group, getattr(self, group))
            if part is None:
                raise ConfigError(f"{group} are of an outer step of your own; {outer} has none.")
            values[group] = made(dataclasses.replace, part, **members)
        return dataclasses.replace(self, **values)

    def differing(self, other: TrainConfig) -> Options:
        """The options in which another configuration differs, with its values."""
        differences: Options = {}
        for each in dataclasses.fields(self):
            mine, theirs = (getattr(config, each.name) for config in (self, other))
            if dataclasses.is_dataclass(mine) and type(mine) is type(theirs):
                differences |= {
                    f"{each.name}.{part.name}": getattr(theirs, part.name)
                    for part in dataclasses.fields(mine)
                    if getattr(mine, part.name) != getattr(theirs, part.name)
                }
            elif mine != theirs:
                differences[each.name] = theirs
        return differences

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, to_be_made: bool = True) -> TrainConfig:
        """The inverse of `to_dict`, for runs of earlier versions too.

        Args:
            data: what `to_dict` made.
            to_be_made: whether the environment may be made, whose module is imported then.

        Raises:
            ConfigError: fields that this version does not know, values of other types, an algorithm
                that cannot be had, or a module that a file names and nobody else.
        """
        data = migrate_config(data)
        env_module, colon, _ = str(data.get("env", {}).get("id", "")).rpartition(":")
        if colon and to_be_made:  # imported when it is made, when the file is long closed
            trust.check_module(env_module, f"environment {data['env']['id']}")
        algorithm = algorithms.get_algorithm(data.get("algorithm", DEFAULT_ALGORITHM))
        data["algorithm_settings"] = from_dict(
            algorithm.Settings, data.get("algorithm_settings", {})
        )
        if data.get("outer") in _NAMED_OUTER_STEPS:
            data.pop("outer_settings", None)
        elif data.get("outer_settings") is not None:
            outer = get_outer_step(data["outer"])
            data["outer_settings"] = from_dict(outer, data["outer_settings"])
        return from_dict(cls, data)


RUN_FIELDS = (
    "iterations",
    "checkpoint_every",
    "log_every",
    "max_refused",
    "validation_tasks",
    "track",
    "threads",
)
"""Fields that may change when a run is resumed. Threads change the last bits of sums."""


def changes(old: TrainConfig, new: TrainConfig, *, all_fields: bool = False) -> list[str]:
    """The fields that differ and may not, or all that differ, each as "name: old -> new"."""
    before, after = (flat(config.to_dict()) for config in (old, new))
    return [
        f"{name}: {before.get(name)} -> {after.get(name)}"
        for name in sorted(before | after)
        if before.get(name) != after.get(name) and (all_fields or name not in RUN_FIELDS)
    ]


def flat(data: dict[str, Any], prefix: str = "") -> Options:
    """Key a configuration's values by option: {"inner": {"steps": 5}} is {"inner.steps": 5}."""
    options: Options = {}
    for name, value in data.items():
        if isinstance(value, dict) and not name.endswith("kwargs"):
            options |= flat(value, f"{prefix}{name}.")
        else:
            options[prefix + name] = value
    return options
