"""Meta-training: the loop, its metrics, its checkpoints, and stopping without loss."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from tqdm import tqdm

from rlmaml import checkpoint
from rlmaml.collect import collect
from rlmaml.random import Phase, generator
from rlmaml.types import Episodes, Meta, MetaBatch
from runners.build import Experiment, build
from runners.config import TrainConfig, changes
from runners.errors import UsageError
from runners.restore import matching, read_checkpoint, restore_normaliser
from runners.runfolder import RunFolder


def train(config: TrainConfig, out: Path, *, init: Path | None = None) -> RunFolder:
    """Start a run in a new folder.

    Args:
        config: what to run.
        out: the folder, which must not hold anything yet.
        init: a checkpoint or run folder whose meta-parameters to start from.

    Raises:
        UsageError: bad input.
        SystemExit: stopped by a signal, after saving: 130 (SIGINT) or 143 (SIGTERM).
    """
    folder = RunFolder(out)
    folder.check_free()
    experiment = build(config)
    meta: Meta = {"params": experiment.params}
    if init is not None:
        start = read_checkpoint(init)
        meta = matching(start.meta, meta, init)
        restore_normaliser(experiment, start, init)
    folder.create(config, init=init)
    _run(config, folder, experiment, meta, done=0, totals=Totals())
    return folder


def resume(folder: RunFolder, config: TrainConfig) -> RunFolder:
    """Go on with a run from its newest checkpoint, as though it had never stopped.

    Raises:
        UsageError: the configuration differs in what decides the results, or there is nothing
            to go on from.
    """
    differing = changes(folder.read_config(), config)
    if differing:
        raise UsageError(
            f"{folder.path} was trained with other settings ({'; '.join(differing)}): resume "
            "without changing them, or start a new run (--init takes over its parameters)."
        )
    experiment = build(config)
    meta: Meta = {"params": experiment.params}
    done, totals = 0, Totals()
    if checkpoint.available(folder.checkpoints):  # none yet: begin again
        start = read_checkpoint(folder.path)
        meta = matching(start.meta, meta, folder.path)
        restore_normaliser(experiment, start, folder.path)
        done, totals = start.iteration, Totals(**start.state["totals"])
    if done > config.iterations:
        raise UsageError(
            f"{folder.path} has {done} iterations already: --iterations {config.iterations} would "
            "throw some away."
        )
    folder.write_config(config)
    _run(config, folder, experiment, meta, done=done, totals=totals)
    return folder


class Totals:
    """What a run counts up, kept in its checkpoints."""

    def __init__(
        self,
        env_steps: int = 0,
        seconds: float = 0.0,
        best_return: float = -float("inf"),
        best_iteration: int = 0,
    ) -> None:
        self.env_steps, self.seconds = env_steps, seconds
        self.best_return, self.best_iteration = best_return, best_iteration


def _run(
    config: TrainConfig,
    folder: RunFolder,
    experiment: Experiment,
    meta: Meta,
    *,
    done: int,
    totals: Totals,
) -> None:
    sampler, algorithm = experiment.sampler, experiment.algorithm
    attempt = folder.attempts() + 1
    board = _tensorboard(folder) if config.tensorboard else None

    def save(iteration: int) -> None:
        state: dict[str, Any] = {"totals": vars(totals)}
        if sampler.normaliser is not None:
            state["normaliser"] = sampler.normaliser.state_dict()
        checkpoint.save(
            folder.checkpoints,
            iteration,
            meta,
            state,
            config.to_dict(),
            keep_also=(totals.best_iteration,),
        )

    if not checkpoint.available(folder.checkpoints):
        save(done)  # what --init brought is part of the run from the start
    began = time.perf_counter() - totals.seconds
    with (
        Stop() as stop,
        tqdm(
            total=config.iterations, initial=done, desc=config.preset, unit="it", dynamic_ncols=True
        ) as bar,
    ):
        for iteration in range(done, config.iterations):
            clock = time.perf_counter()
            rng = generator(config.seed, iteration, Phase.TASKS)
            batch = collect(
                sampler,
                algorithm.inner,
                meta,
                experiment.env.sample_tasks(config.tasks, rng),
                steps=algorithm.steps,
                key=(config.seed, iteration, Phase.ROLLOUT),
                chunk_size=config.chunk_size,
            )
            sampled = time.perf_counter()
            meta, metrics = algorithm.update(meta, batch)
            if sampler.normaliser is not None:
                sampler.normaliser.commit()
            updated = time.perf_counter()
            stopping = stop.signal
            summary = summarise(batch)
            steps = summary.pop("env_steps")
            totals.env_steps += int(steps)
            totals.seconds = updated - began
            line = {
                "iteration": iteration,
                "attempt": attempt,
                "env_steps": totals.env_steps,
                "seconds": totals.seconds,
                **summary,
                **metrics,
                "time/sampling": sampled - clock,
                "time/update": updated - sampled,
            }
            folder.append_metrics(line)
            if board is not None:
                board(line)
            bar.update()
            bar.set_postfix_str(
                f"return {summary['return/pre']:.1f} -> {summary['return/post']:.1f}, "
                f"{steps / (updated - clock):,.0f} env steps/s"
            )
            # The batch measured the parameters that this iteration began with.
            at_checkpoint = iteration and iteration % config.checkpoint_every == 0
            if at_checkpoint and summary["return/post"] > totals.best_return:
                totals.best_return = summary["return/post"]
                totals.best_iteration = iteration
            done = iteration + 1
            due = done % config.checkpoint_every == 0
            if due or stopping or done == config.iterations:
                save(done)
            if stopping:
                break
    experiment.env.close()
    if stop.signal:  # also after the last iteration: further seeds are not to begin
        print(
            f"{stop.signal.name}: stopped after {done} of {config.iterations} iterations, saved. "
            f"Go on with: rlmaml train --resume {folder.path}",
            file=sys.stderr,
        )
        raise SystemExit(128 + stop.signal)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024**2 if sys.platform != "darwin" else 1024**3
    )
    print(
        f"{done} iterations, {totals.env_steps / 1e6:.1f} million env steps, "
        f"{totals.seconds / 60:.1f} min, peak memory {peak:.2f} GiB. Run folder: {folder.path}"
    )
    if totals.best_iteration:
        best = folder.checkpoints / f"{totals.best_iteration:06d}"
        print(f"Highest training return at a checkpoint: {totals.best_return:.1f}, kept in {best}")


def summarise(batch: MetaBatch) -> dict[str, float]:
    """Returns before and after adaptation, episode lengths and divergences of a batch.

    `return/pre` is the mean undiscounted return of the first batch of episodes, sampled with
    φ_0 = θ; `return/post` that of the last, sampled with φ_K. In between `return/step_k`.
    """
    sets: list[Episodes] = [*batch.support, batch.query]
    means = [data.rewards.sum(-1).mean().item() for data in sets]
    return {
        "return/pre": means[0],
        "return/post": means[-1],
        **{f"return/step_{k}": mean for k, mean in enumerate(means[1:-1], 1)},
        "length/pre": sets[0].mask.sum(-1).mean().item(),
        "length/post": sets[-1].mask.sum(-1).mean().item(),
        "diverged": sum(data.diagnostics["diverged"].sum().item() for data in sets),
        "env_steps": sum(
            data.mask.sum().item() + data.diagnostics["diverged"].sum().item() for data in sets
        ),
    }


def _tensorboard(folder: RunFolder) -> Callable[[dict[str, Any]], None]:
    try:
        from stable_baselines3.common.logger import TensorBoardOutputFormat

        writer = TensorBoardOutputFormat(str(folder.tensorboard))
    except (ImportError, AssertionError) as problem:
        raise UsageError(
            "--tensorboard needs TensorBoard: pip install 'rlmaml[tensorboard]'."
        ) from problem

    def write(line: dict[str, Any]) -> None:
        scalars = {name: value for name, value in line.items() if isinstance(value, (int, float))}
        writer.write(scalars, {name: () for name in scalars}, step=line["iteration"])

    return write


class Stop:
    """While active, SIGINT and SIGTERM are noted, so that the iteration can end and be saved.

    A second one of the same kind acts at once, as it would have without us.
    """

    signal: signal.Signals | None = None

    def __enter__(self) -> Stop:
        self._old: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._old = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        signal.signal(number, self._old[number])
        os.write(2, b"\nStopping after this iteration...\n")  # print is not for signal handlers
