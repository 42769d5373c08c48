"""Processes that share the tasks of a run: the one file that knows of torch.distributed.

torchrun starts P processes with the same command. Each plays and learns from its own share of the
N tasks, and what is a mean or a decision over tasks is one over all of them. Without torchrun there
is one process, whose share is everything, and nothing here does anything.

Shares are of tasks in their order, so what is drawn for a task can depend on its number among all N
and on nothing else. All processes hold the same meta-parameters: they begin alike, and what moves
them is the same sum on all, or the first process's word (`agreed`).
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from rlmaml.errors import ConfigError
from rlmaml.profiling import timer

T = TypeVar("T")
_joined = False  # or groups that somebody has for another purpose would divide our tasks
_sent = 0


class ProcessLostError(RuntimeError):
    """Another process ended, or did not answer in time."""


def started() -> int:
    """The number P of processes that torchrun started, this one included; 1 without it."""
    given = all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))
    return int(os.environ["WORLD_SIZE"]) if given else 1


def restarted() -> bool:
    """True if torchrun started the processes again after one was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def join(timeout: float) -> None:
    """Meet the other processes that torchrun started; alone, or a second time, nothing.

    Args:
        timeout: seconds that each waits for another, at most, then and later.

    Raises:
        ProcessLostError: they do not all come.
    """
    global _joined
    if started() < 2 or _joined:
        return
    if not dist.is_initialized():
        _begin(timeout)
    _joined = True


def _begin(timeout: float) -> None:
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    limit = datetime.timedelta(seconds=timeout)
    store, number, count = _call(lambda: next(dist.rendezvous("env://", timeout=limit)))
    # torchrun keeps its store when it starts processes again, with the addresses of those that
    # died: each attempt has names of its own there.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"rlmaml/attempt-{attempt}", store)
    options: dict[str, Any] = {"store": store, "rank": number, "world_size": count}
    _call(dist.init_process_group, backend, timeout=limit, **options)


def leave() -> None:
    """Part from the others."""
    global _joined
    if _joined:
        _joined = False
        dist.destroy_process_group()


def size() -> int:
    """P, of those that have met."""
    return dist.get_world_size() if _joined else 1


def rank() -> int:
    """The number of this process, 0 .. P - 1, of those that have met."""
    return dist.get_rank() if _joined else 0


def is_first() -> bool:
    """True for the process that writes and speaks."""
    return rank() == 0


def per_host() -> int:
    """The number of these processes on this machine, which share its CPUs."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if started() > 1 else 1


def name() -> str:
    """This process in messages, also before they have met; empty if it is alone."""
    return f"process {os.environ['RANK']} of {started()}" if started() > 1 else ""


def device(wanted: str) -> str:
    """The device of this process: of "cuda" its own, by its number on this machine."""
    if wanted == "cuda" and size() > 1:
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return wanted


def share(count: int) -> slice:
    """The share of this process of `count` tasks: as many as the others', or one more or less.

    Raises:
        ConfigError: fewer tasks than processes.
    """
    if count < size():
        raise ConfigError(
            f"{count} tasks are too few for {size()} processes: each needs one. Start fewer, or "
            "take more --tasks."
        )
    bounds = [count * i // size() for i in (rank(), rank() + 1)]
    return slice(*bounds)


def mean(values: Tensor) -> Tensor:
    """The mean over all tasks of all processes, of values [n, ...] of one's own: [...]."""
    if size() == 1:
        return values.mean(0)
    return mean_of_sum(values.sum(0), len(values))


def mean_of_sum(total: Tensor, count: int) -> Tensor:
    """The mean over all tasks of all processes, of a sum [...] over one's own `count`."""
    if size() == 1:
        return total * (1 / count)
    packed = torch.cat([total.reshape(-1), total.new_tensor([count])])
    _reduce(packed, dist.ReduceOp.SUM)
    return (packed[:-1] / packed[-1]).view(total.shape)


def total(value: float) -> float:
    """The sum of a number over all processes."""
    return sum(collected(value)) if size() > 1 else value


def highest(value: int) -> int:
    """The greatest of a number of all processes."""
    if size() == 1:
        return value
    packed = torch.tensor([value])
    _reduce(packed, dist.ReduceOp.MAX)
    return int(packed)


def collected(value: T) -> list[T]:
    """What each process has, in their order."""
    if size() == 1:
        return [value]
    every: list[Any] = [None] * size()
    _call(dist.all_gather_object, every, value)
    return every


def all_rows(rows: np.ndarray) -> np.ndarray:
    """Rows [N, ...] of all tasks, of those [n, ...] of one's own."""
    return rows if size() == 1 else np.concatenate(collected(rows))


def all_tasks(values: Tensor) -> Tensor:
    """Values [N, ...] of all tasks, of those [n, ...] of one's own."""
    if size() == 1:
        return values
    return torch.cat([each.to(values.device) for each in collected(values.detach().cpu())])


def agreed(decision: bool) -> bool:
    """The first process's decision, which none may take otherwise."""
    if size() == 1:
        return decision
    packed = torch.tensor([int(decision)])
    _call(dist.broadcast, packed, src=0)
    return bool(packed)


def wait() -> None:
    """Wait for all processes to come here."""
    if size() > 1:
        _call(dist.barrier)


def sent() -> int:
    """Bytes of the sums that this process has taken part in."""
    return _sent


def _reduce(packed: Tensor, operation: Any) -> None:
    global _sent
    _sent += packed.numel() * packed.element_size()
    _call(dist.all_reduce, packed, op=operation)


def _call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call, and tell in our words of a process that is gone."""
    try:
        with timer("communication"):
            return function(*arguments, **options)
    except (RuntimeError, dist.DistError) as problem:
        lines: Sequence[str] = str(problem).splitlines() or [type(problem).__name__]
        raise ProcessLostError(
            f"Another process ended, or did not answer in time ({lines[0][:200]})."
        ) from problem
