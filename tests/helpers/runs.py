"""Tiny runs by the command line, and whether two of them are the same."""

import torch
from torch.utils import _pytree as pytree

from rlmaml import checkpoint, tree
from runners import cli
from runners.run_dir import RunDir

TINY = [
    *("--tasks", "2", "--episodes", "3", "--horizon", "6", "--iterations", "4"),
    *("--checkpoint-every", "2", "--policy.hidden", "8", "--threads", "1"),
]


def run(*words):
    cli.main([str(word) for word in words])


def tiny(out, *more, preset="half-cheetah-vel"):
    run("train", preset, "--out", out, *TINY, *more)
    return RunDir(out)


def learned(folder):
    return checkpoint.load(checkpoint.latest(folder.checkpoints))


def comparable(line):
    """All of a metrics line that a resumed run must reproduce to the bit."""
    skipped = ("seconds", "attempt")
    return {k: v for k, v in line.items() if k not in skipped and not k.startswith("time/")}


def assert_same_run(one, other):
    assert [comparable(x) for x in one.read_metrics()] == [
        comparable(x) for x in other.read_metrics()
    ]
    first, second = learned(one), learned(other)
    assert all(map(torch.equal, tree.leaves(first.meta), tree.leaves(second.meta)))
    totals = [{**each.state["totals"], "seconds": 0} for each in (first, second)]
    assert totals[0] == totals[1]
    for key in set(first.state) - {"totals"}:
        pairs = zip(*(pytree.tree_leaves(each.state[key]) for each in (first, second)), strict=True)
        for a, b in pairs:
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
