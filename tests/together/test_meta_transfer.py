"""Meta-transfer learning in runs: what it takes over, from the command line."""

import pytest
import torch

from rlmaml import checkpoint, tree
from rlmaml.algorithms.meta_transfer import MetaTransfer
from rlmaml.errors import ConfigError
from runners.run_dir import RunDir
from runners.training.checkpoints import fitted_meta
from tests.helpers import parts
from tests.helpers.runs import learned, run

pytestmark = pytest.mark.slow


def test_what_is_taken_over(tmp_path):
    """A trunk, and the head where it fits; from a run of its own, scales and shifts too."""
    method, built, _ = parts.regression(MetaTransfer)

    def warm_started(loaded):
        return fitted_meta(method.warm_start(loaded, built), built, tmp_path)

    other = {"params": tree.map(torch.ones_like, built["params"])}
    taken = warm_started(other)
    assert torch.equal(tree.ravel(taken["params"])[0], tree.ravel(other["params"])[0])
    assert taken["scale"] is not None
    assert torch.equal(taken["scale"]["mean.0.weight"], torch.ones(6, dtype=torch.float64))
    assert not tree.ravel(taken["shift"])[0].any()

    wide = torch.ones(9, 5).double()
    other["params"] |= {"mean.4.weight": wide, "mean.4.bias": wide[:, 0]}
    taken = warm_started(other)
    assert torch.equal(taken["params"]["mean.4.weight"], built["params"]["mean.4.weight"])
    assert torch.equal(taken["params"]["mean.4.bias"], built["params"]["mean.4.bias"])
    assert taken["params"]["mean.2.weight"].unique().tolist() == [1.0]
    assert len(other["params"]["mean.4.weight"]) == 9

    mine = parts.shaken(built)
    assert warm_started(mine).keys() == built.keys()
    for group in built:
        taken = warm_started(mine)[group]
        assert all(torch.equal(taken[name], mine[group][name]) for name in taken)

    other["params"]["mean.0.weight"] = torch.ones(7, 3).double()
    with pytest.raises(ConfigError, match="have shapes"):
        warm_started(other)


SMALL = ("--tasks", 4, "--threads", 1, "--checkpoint-every", 2, "--quiet")


def test_from_the_command_line_and_from_python(tmp_path, capsys):
    small = (*SMALL, "--conv.filters", 4, "--validation-tasks", 3, "--iterations", 2)
    first, second = tmp_path / "first", tmp_path / "second"
    run("train", "digits", "--algorithm", "pretraining", "--out", first, *small)
    how = ("train", "digits", "--algorithm", "meta-transfer", "--out", second, *small)
    with pytest.raises(SystemExit):
        run(*how)
    message = capsys.readouterr().err
    assert "rlmaml train digits --algorithm pretraining --out DIR" in message
    assert "rlmaml train digits --algorithm meta-transfer --init DIR" in message
    assert not second.exists()
    run(*how, "--init", first)
    run("train", "--resume", second, "--iterations", 4, "--quiet")
    run("evaluate", second, "--tasks", 4, "--steps", 2, "--quiet")
    ours, theirs = (learned(RunDir(path)).meta for path in (second, first))
    for name, value in theirs["params"].items():
        same = ours["params"][name]
        assert torch.equal(same, value) if "blocks" in name else same.shape != value.shape

    method = MetaTransfer(None)
    loaded = checkpoint.load(checkpoint.locate(first)).meta
    own = loaded["params"] | {"logits.weight": torch.zeros(3, 4), "logits.bias": torch.zeros(3)}
    state = method.initial_state(method.warm_start(loaded, method.init_meta(own)))
    assert torch.equal(
        state.meta["params"]["blocks.0.norm.weight"], loaded["params"]["blocks.0.norm.weight"]
    )
    assert not state.meta["params"]["logits.weight"].any()


def test_an_untrained_run_needs_no_beginning(tmp_path):
    run("train", "sinusoid", "--algorithm", "meta-transfer", "--out", tmp_path / "run", *SMALL,
        "--iterations", 0)  # fmt: skip
