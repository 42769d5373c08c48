"""Processes that share a run's tasks, as torchrun would start them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import traceback

import torch

from rlmaml import processes, tree
from runners.environments import build_experiment
from runners.presets import PRESETS, with_algorithm
from runners.training import train, updates

CONTEXT = multiprocessing.get_context("forkserver")  # imports once, and forks what has no threads
CONTEXT.set_forkserver_preload(["tests.helpers.warm"])


def run(count, function, *arguments, timeout=60):
    """What a function gives in each of `count` processes, in their order.

    Raises:
        AssertionError: it raised in one of them; with the traceback.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    queue = CONTEXT.Queue()
    started = [
        CONTEXT.Process(target=_one, args=(rank, count, port, queue, timeout, function, arguments))
        for rank in range(count)
    ]
    for each in started:
        each.start()
    found = dict(queue.get(timeout=120) for _ in started)
    for each in started:
        each.join(30)
    failed = [value for ok, value in found.values() if not ok]
    assert not failed, "\n".join(failed)
    return [found[rank][1] for rank in range(count)]


def _one(rank, count, port, queue, timeout, function, arguments):
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(count),
        LOCAL_WORLD_SIZE=str(count),
        LOCAL_RANK=str(rank),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    try:
        processes.join(timeout)
        queue.put((rank, (True, function(*arguments))))
    except BaseException:
        queue.put((rank, (False, traceback.format_exc())))
    finally:
        processes.leave()


def problem(preset, algorithm="maml", tasks=5, **options):
    """A preset's configuration, small."""
    config = with_algorithm(PRESETS[preset].config, algorithm)
    small: dict = {"iterations": 3, "tasks": tasks, "threads": 1, "validation_tasks": 0}
    if config.data == "episodes":
        small |= {"episodes": 8, "horizon": 6}
    # Conjugate gradient magnifies rounding by as much as curvature is near to singular, which it
    # is with so few data.
    if config.outer == "trust-region":
        small |= {"trust_region.damping": 0.1, "trust_region.cg_iterations": 5}
    return config.changed({**small, "policy.hidden": (32,), **options})


def one_update(config):
    """A first meta-batch, and what an update in float64 makes of it.

    Returns:
        Leaves of the batch [n, ...], as collected; the parameters after the update; and metrics.
    """
    with contextlib.closing(build_experiment(config)) as experiment:
        meta = experiment.algorithm.init_meta(experiment.params)
        if experiment.normalizer is not None:
            train.first_look(experiment, config, meta)
            experiment.normalizer.commit()
        batch = train.meta_batch(experiment, config, meta, 0)
        moved = None
        if experiment.normalizer is not None:
            moved = updates.commit_statistics(experiment, meta, batch)
        wide = tree.map(_double, batch)
        state = experiment.algorithm.initial_state(tree.map(_double, meta))
        new, metrics = experiment.algorithm.update(state, wide)
        line = experiment.metric.line(new.meta, wide)
        line |= {"steps": experiment.metric.steps(batch), "statistics": moved}
        leaves = [leaf.numpy() for leaf in tree.leaves(batch)]
        return leaves, tree.ravel(new.meta)[0].numpy(), metrics | line


def _double(leaf):
    return leaf.double() if leaf.is_floating_point() else leaf
