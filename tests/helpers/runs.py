"""Tiny runs by the command line, and whether two of them are the same."""

import json

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from rlmaml import checkpoint, tree
from runners.command_line import cli
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import measure
from runners.run_dir import RunDir, repeatable

TINY = [
    *("--tasks", "2", "--episodes", "3", "--horizon", "6", "--iterations", "4"),
    *("--checkpoint-every", "2", "--policy.hidden", "8", "--threads", "1"),
    *("--normalize-observations", "False"),
]


def run(*words):
    cli.main([str(word) for word in words])


def refused(capsys, *words):
    """What is said of a command that ends with code 2: one line, or what tyro makes of options."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert stop.value.code == 2
    errors = capsys.readouterr().err
    if errors.startswith("rlmaml: "):
        assert len(errors.strip().splitlines()) == 1
    else:
        assert "rlmaml" in errors  # tyro says which command has the help
        assert "Traceback" not in errors
    return " ".join(errors.split())


def tiny(out, *more, preset="half-cheetah-vel"):
    run("train", preset, "--out", out, *TINY, *more)
    return RunDir(out)


def evaluated(folder, tasks=None, *, quiet=True, **settings):
    """What evaluation.json holds, after measuring: as many tasks, or these."""
    given = None if tasks is None or isinstance(tasks, int) else np.asarray(tasks)
    count = tasks if given is None else None
    config = EvalConfig(tasks=count, **settings)
    measure(folder, config, tasks=given, quiet=quiet).save(folder.evaluation)
    return json.loads(folder.evaluation.read_text())


def learned(folder):
    return checkpoint.load(checkpoint.latest(folder.checkpoints))


def assert_same_run(one, other):
    assert [repeatable(x) for x in one.read_metrics()] == [
        repeatable(x) for x in other.read_metrics()
    ]
    first, second = learned(one), learned(other)
    assert all(map(torch.equal, tree.leaves(first.meta), tree.leaves(second.meta)))
    totals = [{**each.state["totals"], "seconds": 0} for each in (first, second)]
    assert totals[0] == totals[1]
    for key in set(first.state) - {"totals"}:
        pairs = zip(*(pytree.tree_leaves(each.state[key]) for each in (first, second)), strict=True)
        for a, b in pairs:
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def flip(path):
    """Flip a bit of a file's last byte."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
