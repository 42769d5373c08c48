"""The loop of meta-training, and what becomes of a run that cannot go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, NoReturn

import torch

from rlmaml import checkpoint, packing, processes, tree
from rlmaml.build import Experiment
from rlmaml.config import TrainConfig
from rlmaml.types import Meta, MetaBatch, Metrics, State, StateDict
from runners.command_line.progress import progress
from runners.command_line.terminal import say
from runners.errors import TrainingStopped
from runners.memory import peak_memory
from runners.run_dir import RunDir
from runners.training import plots, refusals, updates
from runners.training.signals import Stop
from runners.training.signs import Signs, adaptation_kl
from runners.training.totals import Totals
from runners.training.validation import Validator
from runners.workers import ended_workers


class _Step(NamedTuple):
    """One meta-iteration: what it learned from, and when."""

    meta: Meta  # before the update
    batch: MetaBatch
    state: State  # after it
    metrics: Metrics
    env_steps: int
    sampling_seconds: float
    update_seconds: float
    refused: str | None  # why, if the outer step was


class _Whole(NamedTuple):
    """All that a run is at the end of an iteration, in copies that no later one changes."""

    done: int
    meta: Meta
    outer: StateDict
    normalizer: dict[str, torch.Tensor] | None
    totals: Totals


@dataclass
class Trainer:
    """A run at work: what it has learned and counted, and where it writes."""

    config: TrainConfig
    folder: RunDir
    experiment: Experiment
    validator: Validator | None
    sample: Callable[[Meta, int], MetaBatch]
    """What a meta-iteration learns from, of the meta-parameters and the iteration."""
    look: Callable[[Meta], MetaBatch]
    """Episodes that statistics of observations begin with, of the meta-parameters."""
    track: Callable[[Metrics], None]
    """Hands a line of metrics to the run's trackers."""
    state: State
    done: int = 0
    totals: Totals = field(default_factory=Totals)

    def run(self, *, quiet: bool) -> None:
        """Train to the last iteration, or until a signal comes; save; say what was done.

        Raises:
            TrainingStopped: it could not go on, or has learned nothing.
            SystemExit: stopped by a signal.
        """
        config = self.config
        self._attempt = self.folder.attempts() + 1
        self._told = False  # of a refused outer step
        self._signs = Signs()
        self._whole = self._copied()
        self._odd = set(updates.not_finite(self._whole.outer))  # one's own may begin with some
        self._saved: int | None = None
        with Stop() as stop:
            try:
                self._start()
                with progress(
                    config.iterations, config.preset, "it", done=self.done, quiet=quiet
                ) as bar:
                    self._loop(stop, bar)
            except BaseException as problem:
                if stop.signal is not None and isinstance(problem, KeyboardInterrupt):
                    raise  # the second Ctrl-C: at once
                self._give_up(problem)
            self._end(stop)

    def _start(self) -> None:
        """Save what is not saved yet, and clear away what an interrupted run left."""
        if processes.agreed(bool(checkpoint.available(self.folder.checkpoints))):
            best = self.totals.best_iteration or None
            if processes.is_first():
                checkpoint.prune(self.folder.checkpoints, self.done, best=best)
            self._saved = self.done
        else:
            self._begin_statistics()
            self._save()  # what --init brought is part of the run from the start

    def _begin_statistics(self) -> None:
        """Standardize from the start, by statistics of the policy as it is made.

        Otherwise the first update would be undone in part by those that come after it.
        """
        normalizer = self.experiment.normalizer
        if normalizer is None or normalizer.count > 0 or not self.config.iterations:
            return
        began = time.perf_counter()
        batch = self.look(self.state.meta)
        normalizer.commit()
        cost = self.experiment.metric.steps(batch)
        self.totals = self.totals.after(cost, time.perf_counter() - began)
        self._whole = self._copied()

    def _loop(self, stop: Stop, bar: Any) -> None:
        config = self.config
        began = time.perf_counter() - self.totals.seconds
        for iteration in range(self.done, config.iterations):
            step = self._step(iteration)
            stopping = stop.agreed()
            self.totals = self.totals.judged(step.refused)
            self.totals = self.totals.after(step.env_steps, time.perf_counter() - began)
            bar.update()
            if step.refused is not None and not self._told:
                self._told = True
                say(refusals.first_refusal(iteration + 1, step.refused, step.batch))
            end = iteration + 1 == config.iterations
            due = end or (iteration + 1) % config.checkpoint_every == 0
            if stopping or self._logs(iteration, due, step):
                line = self._line(iteration, step)
                if sign := self._signs.note(line):
                    say(sign)
                bar.set_postfix_str(self._summary(line, step), refresh=False)
                self._write(line | self._measured(iteration, due, line))
            self.done = iteration + 1
            self._whole = self._checked(step)
            if due or stopping:
                self._save()
            if stopping:
                break
            if config.max_refused and step.refused is not None:
                self._check_refusals()

    def _step(self, iteration: int) -> _Step:
        before, began = self._whole.meta, time.perf_counter()
        batch = self.sample(self.state.meta, iteration)
        sampled = time.perf_counter()
        state, metrics = self.experiment.algorithm.update(self.state, batch)
        updates.check_alike(before, state.meta, iteration)
        metrics = {str(name): updates.plain(value) for name, value in (metrics or {}).items()}
        if names := updates.not_finite(state.meta):
            raise TrainingStopped(
                f"Iteration {iteration} led to parameters that are not finite ({names[0]}). Look "
                "at the step sizes (--optimizer.learning-rate, --inner.step-size): lower ones, or "
                "--optimizer.clip-norm, keep them finite; what is saved can be started from "
                "(--init)."
            )
        self.state = state = updates.alike(state)
        if self.experiment.normalizer is not None:
            metrics["kl/statistics"] = updates.commit_statistics(self.experiment, before, batch)
        updated = time.perf_counter()
        return _Step(
            before,
            batch,
            state,
            metrics,
            self.experiment.metric.steps(batch),
            sampled - began,
            updated - sampled,
            refusals.refusal(before, state.meta, metrics),
        )

    def _copied(self) -> _Whole:
        normalizer = self.experiment.normalizer
        return _Whole(
            self.done,
            tree.map(lambda leaf: leaf.detach().clone(), self.state.meta),
            self.experiment.algorithm.state_dict(self.state),
            None if normalizer is None else normalizer.state_dict(),
            self.totals,
        )

    def _checked(self, step: _Step) -> _Whole:
        """The run as it is now, if all of it can be gone on with."""
        whole = self._copied()
        state = {"state of the outer step": whole.outer, "normalizer": whole.normalizer}
        names = [
            name
            for name in updates.not_finite(state)
            if name.removeprefix("state of the outer step/") not in self._odd
        ]
        if names:
            raise TrainingStopped(
                f"Iteration {whole.done - 1} led to numbers that are not finite ({names[0]}). Look "
                "at the size of observations and gradients (--optimizer.clip-norm)."
            )
        return whole

    def _measures_checkpoint(self, iteration: int) -> bool:
        """True if the batch was sampled with the parameters of a checkpoint."""
        return iteration > 0 and iteration % self.config.checkpoint_every == 0

    def _logs(self, iteration: int, due: bool, step: _Step) -> bool:
        scheduled = (iteration + 1) % self.config.log_every == 0
        refused = step.refused is not None
        return scheduled or due or refused or self._measures_checkpoint(iteration)

    def _line(self, iteration: int, step: _Step) -> Metrics:
        own = {
            "iteration": iteration,
            "attempt": self._attempt,
            "env_steps": self.totals.env_steps,
            "seconds": self.totals.seconds,
            **self.experiment.metric.line(step.meta, step.batch),
            **adaptation_kl(self.experiment, step.batch),
            **self.experiment.algorithm.signs(step.meta, step.batch),
        }
        return {
            **own,
            **{name: value for name, value in step.metrics.items() if name not in own},
            "time/sampling": step.sampling_seconds,
            "time/update": step.update_seconds,
        }

    def _summary(self, line: Metrics, step: _Step) -> str:
        name = self.experiment.metric.name
        rate = step.env_steps / (step.sampling_seconds + step.update_seconds)
        return (
            f"{name} {line[f'{name}/pre']:.3g} -> {line[f'{name}/post']:.3g}, "
            f"{rate:,.0f} env steps/s"
        )

    def _measured(self, iteration: int, due: bool, line: Metrics) -> Metrics:
        """Validation's part of the line, where it is due; the best checkpoint is remembered."""
        metric = self.experiment.metric
        name, higher = metric.name, metric.higher_is_better
        if self.validator is not None and due:
            validated = self.validator(self.state, self.experiment.normalizer)
            score = validated[f"validation/{name}/post"]
            by = f"validation on {self.config.validation_tasks} tasks"
            self.totals = self.totals.noted(score, iteration + 1, by=by, higher_is_better=higher)
            return validated
        if self.validator is None and self._measures_checkpoint(iteration):
            score = line[f"{name}/post"]
            self.totals = self.totals.noted(
                score, iteration, by="training", higher_is_better=higher
            )
        return {}

    def _write(self, line: Metrics) -> None:
        if not processes.is_first():
            return
        try:
            self.folder.append_metrics(line)
        except OSError as problem:
            raise _cannot_write(f"metrics to {self.folder.path}", problem) from problem
        self.track(line)

    def _save(self) -> None:
        """Write the checkpoint of the last whole iteration."""
        whole = self._whole
        if not processes.is_first():
            self._saved = whole.done
            return
        packing.check_state(whole.outer)
        state: dict[str, Any] = {
            "totals": asdict(whole.totals),
            "outer": whole.outer,
            "data": self.experiment.fingerprint,
            "processes": processes.size(),
        }
        if whole.normalizer is not None:
            state["normalizer"] = whole.normalizer
        if self.experiment.predictor_spec is not None:
            state["predictor"] = self.experiment.predictor_spec._asdict()
        try:
            checkpoint.save(
                self.folder.checkpoints,
                whole.done,
                whole.meta,
                state,
                self.config.to_dict(),
                best=whole.totals.best_iteration or None,
            )
        except OSError as problem:
            raise _cannot_write(f"a checkpoint to {self.folder.checkpoints}", problem) from problem
        self._saved = whole.done

    def _check_refusals(self) -> None:
        """Stop where so many outer steps in a row were refused that more of them are no use."""
        totals = self.totals
        if totals.refused_in_a_row % self.config.max_refused == 0:
            raise TrainingStopped(
                f"The last {totals.refused_in_a_row} outer steps were refused, so training stops "
                f"after {self.done} of {self.config.iterations} iterations. "
                f"{refusals.summary(totals, self.done)} {refusals.advice(totals)} "
                "--max-refused sets after how many."
            )

    def _give_up(self, problem: BaseException) -> NoReturn:
        """Save the last whole state, draw what there is, and pass on what has happened."""
        saved = self._rescued(problem)
        if isinstance(problem, SystemExit):  # an environment's; exit code 0 is not for it to give
            problem = TrainingStopped(
                f"The environment or the algorithm asked for an end with code {problem.code!r}."
            )
        reason = ended_workers(problem)
        if isinstance(problem, TrainingStopped) or reason is not None:
            self._draw()
            raise TrainingStopped(f"{reason or problem} {saved}") from problem
        say(saved)
        raise problem

    def _rescued(self, reason: BaseException) -> str:
        """Save the last whole state, and say where it is or why it is not."""
        path = self.folder.path
        go_on = f"Go on with: rlmaml train --resume {path}"
        if self._saved != self._whole.done:
            try:
                self._save()
            except Exception as problem:
                why = "" if str(problem) == str(reason) else f" ({problem})"
                if self._saved is None:
                    return f"Nothing is saved{why}."
                return f"Only {self._count()} are saved{why}. {go_on}"
        return f"{self._count()} are saved. {go_on}"

    def _count(self) -> str:
        return f"{self._saved} of {self.config.iterations} iterations"

    def _end(self, stop: Stop) -> None:
        """Draw, and say how it ended."""
        stop.agreed()  # and all is saved
        told = refusals.summary(self.totals, self.done)
        if told:
            say(told)
        if sign := self._signs.summary():
            say(sign)
        if stop.signal is not None:
            # Also after the last iteration: further seeds are not to begin.
            say(
                f"{stop.signal.name}: stopped after {self.done} of {self.config.iterations} "
                f"iterations, saved. Go on with: rlmaml train --resume {self.folder.path}"
            )
            self._draw()
            raise SystemExit(128 + stop.signal)
        problem = self._draw()
        self._report()
        if stop.signal is not None:  # while it was drawn
            raise SystemExit(128 + stop.signal)
        if self.totals.refused == self.done > 0:
            raise TrainingStopped(
                f"Nothing was learned in {self.folder.path}: all {self.done} outer steps were "
                f"refused. {refusals.advice(self.totals)}"
            )
        if problem is not None:
            raise TrainingStopped(
                f"The run is done and saved, but its learning curve cannot be drawn: {problem}"
            ) from problem

    def _draw(self) -> Exception | None:
        """Draw the learning curve; what cannot be drawn is returned, since all else is saved."""
        if not processes.is_first():
            return None
        try:
            if metrics := self.folder.read_metrics():
                path = self.folder.plots / "learning.png"
                plots.learning_curve(metrics, path, self.config.preset)
        except Exception as problem:
            return problem
        return None

    def _report(self) -> None:
        totals = self.totals
        if not processes.is_first():
            return
        print(
            f"{self.done} iterations, {totals.env_steps / 1e6:.1f} million env steps, "
            f"{totals.seconds / 60:.1f} min, peak memory {peak_memory():.2f} GiB. "
            f"Run folder: {self.folder.path}"
        )
        if totals.best_score is not None:
            path = self.folder.checkpoints / f"{totals.best_iteration:06d}"
            score = f"{self.experiment.metric.name} by {totals.best_by}: {totals.best_score:.3g}"
            newest = totals.best_by == "training"  # whose batch is that of the next iteration
            print(f"Best {score}, kept in {path}{' (the newest is not measured)' * newest}")


def _cannot_write(what: str, problem: OSError) -> TrainingStopped:
    return TrainingStopped(f"Cannot write {what}: {problem.strerror or problem}.")
