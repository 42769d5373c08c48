"""Processes that share the tasks of a run: the one file that knows of torch.distributed.

torchrun starts P processes with the same command, or one of them the others (`hosting`). Each plays
and learns from its own share of the N tasks, and what is a mean or a decision over tasks is one
over all of them. A process by itself has everything for its share, and nothing here does anything.

Shares are of tasks in their order, so what is drawn for a task can depend on its number among all N
and on nothing else. All processes hold the same meta-parameters: they begin alike, and what moves
them is the same sum on all, or the first process's word (`agreed`).
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from rlmaml.errors import ConfigError
from rlmaml.profiling import timer

T = TypeVar("T")
_hosting = False
_joined = False  # or groups that somebody has for another purpose would divide our tasks
_sent = 0
_PAUSE = 0.02  # seconds between looks at the store
_LOOPBACK = "127.0.0.1"
_HOST = "RLMAML_HOST"  # the first process's number, in the environment of those it started


class ProcessLostError(RuntimeError):
    """Another process ended, or did not answer in time."""


def started() -> int:
    """The number P of processes that torchrun started, this one included; 1 without it."""
    given = all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))
    return int(os.environ["WORLD_SIZE"]) if given else 1


@contextlib.contextmanager
def hosting(count: int) -> Iterator[dict[str, str]]:
    """Be the first of `count` processes on this machine, where no torchrun has started them.

    Nobody on another machine hears of it: all that they say to each other stays on this one.

    Yields:
        Environment variables that each of the others is to be started with, beside its number,
        RANK and LOCAL_RANK. They are to `join`, as this one is.
    """
    global _hosting
    store = _local_store()
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), _HOST: str(os.getpid())}
    shared |= {"MASTER_ADDR": _LOOPBACK, "MASTER_PORT": str(store.port)}
    shared["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # there is one, that of torchrun or this
    if sys.platform == "linux":
        shared["GLOO_SOCKET_IFNAME"] = "lo"
    own = shared | {"RANK": "0", "LOCAL_RANK": "0"}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    _hosting = True
    try:
        yield shared
    finally:
        leave()
        _hosting = False
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def restarted() -> bool:
    """True if torchrun started the processes again after one was lost."""
    if _HOST in os.environ:
        return False
    return highest(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))) > 0


def launcher() -> str | None:
    """A mark of the torchrun that started this process, the same when it starts it again."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    parent = os.getppid()
    began = b""
    with contextlib.suppress(OSError):  # Linux: no other process of that number ever began then
        began = Path(f"/proc/{parent}/stat").read_bytes().rpartition(b")")[2].split()[19]
    return f"{zlib.crc32(f'{socket.gethostname()} {parent}'.encode() + began):08x}"


def join(timeout: float, check: Callable[[], None] = lambda: None) -> None:
    """Meet the other processes; alone, or a second time, nothing.

    Args:
        timeout: seconds that each waits for another, at most, then and later.
        check: called while it waits; what it raises ends the waiting.

    Raises:
        ProcessLostError: they do not all come.
        ConfigError: somebody has begun with torch.distributed already.
    """
    global _joined
    if started() < 2 or _joined:
        return
    if dist.is_initialized():
        raise ConfigError(
            "torch.distributed is in use already, for something else than the tasks of a run: let "
            "rlmaml.processes.join be the one to begin with it, or start one process."
        )
    limit = datetime.timedelta(seconds=timeout)
    store, number, count = _call(lambda: next(dist.rendezvous("env://", timeout=limit)))
    # torchrun keeps its store when it starts processes again, with the addresses of those that
    # died: those that meet have names of their own there.
    attempt = _call(_meet, store, number, count, time.monotonic() + timeout, check)
    options: dict[str, Any] = {"rank": number, "world_size": count, "timeout": limit}
    by_torchrun = _HOST not in os.environ  # the others share CPUs alone
    backend = "cpu:gloo,cuda:nccl" if by_torchrun and torch.cuda.is_available() else "gloo"
    _call(dist.init_process_group, backend, store=dist.PrefixStore(attempt, store), **options)
    _joined = True


def _meet(
    store: dist.Store, number: int, count: int, until: float, check: Callable[[], None]
) -> str:
    """A name that these processes share, and that none before them had.

    The first makes it up, and answers whoever asks until each of the others has said that it knows.
    What processes that died have left in the store is answered too, and nobody hears it.
    """

    def look(key: str) -> bool:
        check()
        if time.monotonic() > until:
            raise RuntimeError(f"process {number} of {count} waited in vain for {key}")
        return store.check([key])

    own = uuid.uuid4().hex
    if number > 0:
        store.set(f"rlmaml/asks/{number}", own)
        while not look(f"rlmaml/answer/{own}"):
            time.sleep(_PAUSE)
        name = store.get(f"rlmaml/answer/{own}").decode()
        store.set(f"rlmaml/{name}/knows/{number}", "")
        return name
    others = set(range(1, count))
    while others:
        for other in tuple(others):
            if look(f"rlmaml/asks/{other}"):
                asking = store.get(f"rlmaml/asks/{other}").decode()
                store.set(f"rlmaml/answer/{asking}", own)
            if look(f"rlmaml/{own}/knows/{other}"):
                others.remove(other)
        time.sleep(_PAUSE)
    return own


def leave() -> None:
    """Part from the others."""
    global _joined
    if _joined:
        _joined = False
        dist.destroy_process_group()


def _local_store() -> dist.TCPStore:
    """A store that listens on this machine alone."""
    with socket.socket() as listening:
        listening.bind((_LOOPBACK, 0))
        listening.listen()
        port = listening.getsockname()[1]
        options = {"wait_for_workers": False, "master_listen_fd": os.dup(listening.fileno())}
        return dist.TCPStore(_LOOPBACK, port, is_master=True, **options)


def hosts() -> bool:
    """True if this process started the others."""
    return _hosting


def host() -> int | None:
    """The process that started this one to share its tasks; None if none or torchrun did."""
    return int(os.environ[_HOST]) if _HOST in os.environ and not _hosting else None


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
    """This process in messages, also before they have met; empty if it is alone or started them."""
    return f"process {os.environ['RANK']} of {started()}" if started() > 1 and not _hosting else ""


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
            f"{count} tasks are too few for {size()} processes: each needs one. Start fewer "
            "processes, or take more tasks."
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
    _count_and_call(dist.all_reduce, packed, op=dist.ReduceOp.SUM)
    return (packed[:-1] / packed[-1]).view(total.shape)


def total(value: float) -> float:
    """The sum of a number over all processes."""
    return sum(collected(value)) if size() > 1 else value


def highest(value: int) -> int:
    """The greatest of a number of all processes."""
    if size() == 1:
        return value
    packed = torch.tensor([value])
    _count_and_call(dist.all_reduce, packed, op=dist.ReduceOp.MAX)
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


@contextlib.contextmanager
def together(kind: type[Exception]) -> Iterator[None]:
    """Have an error of this kind in all processes if it is raised in one."""
    problem: Exception | None = None
    try:
        yield
    except kind as raised:
        problem = raised
    if highest(int(problem is not None)):
        raise problem or kind("It was raised in another process, which says why.")


def of_first(values: Tensor) -> Tensor:
    """What the first process has of a tensor that all have, for all."""
    if size() == 1:
        return values
    values = values.detach().clone()
    _count_and_call(dist.broadcast, values, src=0)
    return values


def wait() -> None:
    """Wait for all processes to come here."""
    if size() > 1:
        _call(dist.barrier)


def sent() -> int:
    """Bytes of the sums and vectors that this process has shared with the others."""
    return _sent


def _count_and_call(function: Callable[..., Any], packed: Tensor, **options: Any) -> None:
    global _sent
    _sent += packed.numel() * packed.element_size()
    _call(function, packed, **options)


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
