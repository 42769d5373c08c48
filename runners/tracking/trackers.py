"""Trackers, each a short class; the table of them is at the end.

Their packages are imported when a run is tracked.
"""

from __future__ import annotations

import importlib
import itertools
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlmaml.errors import ConfigError
from runners.tracking.base import PROJECT, TrackedRun, Tracker


class TensorBoard(Tracker):
    """Writes event files into the run folder, at once.

    Events of iterations that are written again, after `kill -9`, are taken from the later file.
    """

    module = "torch.utils.tensorboard"

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.path / "tensorboard"
        self.id = run.id or folder.name
        self.where = f"tensorboard --logdir {folder}"
        self._config = None if run.id else run.config
        self._writer = SummaryWriter(str(folder), purge_step=run.first)

    def write(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """Write the numbers of an iteration, at once."""
        if self._config is not None:
            self._describe(self._config, numbers)
            self._config = None
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, iteration)
        self._writer.flush()

    def _describe(self, config: Mapping[str, object], numbers: Mapping[str, float]) -> None:
        """Write the row of the table of hyperparameters, with the scores as its metrics."""
        from torch.utils.tensorboard.summary import hparams

        plain = (bool, int, float, str)
        values = {k: v if isinstance(v, plain) else str(v) for k, v in config.items()}
        scores = {name: 0.0 for name in numbers if name.endswith(("/pre", "/post"))}
        for summary in hparams(values, scores):
            self._writer._get_file_writer().add_summary(summary)

    def close(self, finished: bool) -> None:
        """Close the file."""
        self._writer.close()


class WandB(Tracker):
    """Sends to Weights & Biases, as its environment variables say (WANDB_PROJECT, WANDB_MODE).

    Without an API key the run is offline, for `wandb sync`.
    """

    module = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self.id = run.id or secrets.token_hex(4)
        mode = os.environ.get("WANDB_MODE")
        if mode in (None, "online") and not wandb.login(prompt=False, verify=False):
            mode = "offline"
        self._run = wandb.init(
            id=self.id,
            resume="allow",
            reinit="create_new",  # the user's own run, if any, stays as it is
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            dir=os.environ.get("WANDB_DIR", run.path),
            config=dict(run.config),
            allow_val_change=True,  # a run that goes on may be longer
            mode=mode,
            settings=wandb.Settings(console="off", silent=True),
        )
        if self._run.offline:
            self.where = f"wandb sync {self._run.settings.sync_dir}"
        else:
            self.where = self._run.url or "disabled"

    def write(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """Send the numbers of an iteration."""
        self._run.log(dict(numbers), step=iteration, commit=True)

    def close(self, finished: bool) -> None:
        """Send what is left; the run is shown as finished, or as failed."""
        self._run.finish(exit_code=0 if finished else 1)


class Trackio(Tracker):
    """Writes to Trackio, as its environment variables say (TRACKIO_DIR, TRACKIO_SPACE_ID)."""

    module = "trackio"

    def __init__(self, run: TrackedRun) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        self.id = run.id or f"{run.name}-{secrets.token_hex(4)}"  # it finds runs by name
        self._run = trackio.init(
            project=PROJECT,
            name=self.id,
            config=dict(run.config),
            resume="allow",
            embed=False,
            auto_log_cpu=False,  # by threads in this process
            auto_log_gpu=False,
        )
        space = os.environ.get("TRACKIO_SPACE_ID")
        self.where = space or f"trackio show --project {PROJECT}"

    def write(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """Hand over the numbers of an iteration, which are written within a second."""
        self._run.log(dict(numbers), step=iteration)

    def close(self, finished: bool) -> None:
        """Write what is left."""
        import trackio  # pyright: ignore[reportMissingImports]

        trackio.finish()


_LONGEST = 6000  # letters of a parameter in MLflow
_AT_ONCE = 100  # parameters
_REFUSED = re.compile(r"[^\w\-. :]")  # in names


class MLflow(Tracker):
    """Sends to MLflow, in the experiment of MLFLOW_EXPERIMENT_NAME.

    Settings are those that the run began with, since MLflow lets no parameter change. Metrics are
    called return.post for return/post: its folders hold no surrogate/gain beside a surrogate.
    """

    module = "mlflow"

    def __init__(self, run: TrackedRun) -> None:
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # or it refuses folders
            uri = (run.path / "mlruns").absolute().as_uri()
        self._client = MlflowClient(tracking_uri=uri)
        self.where = uri
        if run.id is not None:
            self.id = run.id
            self._client.update_run(self.id, status="RUNNING")
        else:
            experiment = _experiment(self._client)
            self.id = self._client.create_run(experiment, run_name=run.name).info.run_id
            self._describe(run.config)

    def _describe(self, config: Mapping[str, object]) -> None:
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        values = (Param(name, str(value)[:_LONGEST]) for name, value in config.items())
        while some := list(itertools.islice(values, _AT_ONCE)):
            self._client.log_batch(self.id, params=some)

    def write(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """Send the numbers of an iteration."""
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = int(1000 * time.time())
        metrics = [
            Metric(_REFUSED.sub("_", name.replace("/", ".")), float(value), now, iteration)
            for name, value in numbers.items()
        ]
        self._client.log_batch(self.id, metrics=metrics)

    def close(self, finished: bool) -> None:
        """End the run, which is shown as finished, or as killed."""
        self._client.set_terminated(self.id, "FINISHED" if finished else "KILLED")


def _experiment(client: Any) -> str:
    """The id of the experiment, which is made if there is none."""
    from mlflow.exceptions import MlflowException  # pyright: ignore[reportMissingImports]

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name)
        except MlflowException:  # another run has made it just now
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return found.experiment_id


TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "trackio": Trackio,
    "mlflow": MLflow,
}
"""Trackers by name, which is also that of the extra that installs the package."""


def check_trackers(names: Iterable[str], run: Path) -> None:
    """Check that a run can be sent to trackers.

    Args:
        names: keys of `TRACKERS`.
        run: its folder, which need not exist.

    Raises:
        ConfigError: an unknown name, a package that is missing or broken, or a folder whose name is
            not UTF-8.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(f"Unknown tracker {name!r}: use {', '.join(TRACKERS)}.")
        try:
            importlib.import_module(TRACKERS[name].module)
        except ImportError as problem:
            raise ConfigError(
                f"Tracking by {name} needs its package ({problem}): pip install 'rlmaml[{name}]'."
            ) from problem
        except Exception as problem:
            raise ConfigError(
                f"The package of the tracker {name} cannot be imported: {problem!r}. Mend it, or "
                f"leave out {name}."
            ) from problem
        try:
            str(run).encode()
        except UnicodeEncodeError as problem:
            raise ConfigError(
                f"Trackers cannot write into {run}, whose name is not UTF-8: take another folder, "
                f"or leave out {name}."
            ) from problem
