"""Outer steps that are refused, and updates that go wrong: what is said, saved and ended with."""

import pytest
import torch

from rlmaml import checkpoint, tree
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from runners.run_dir import RunDir
from tests.helpers.runs import assert_same_run, learned, run

pytestmark = pytest.mark.slow

SMALL = [
    *("--tasks", 2, "--episodes", 3, "--horizon", 4, "--policy.hidden", 4, "--threads", 1),
    *("--env.id", "tests.helpers.faulty:Faulty-v0", "--quiet"),
]
NO_REWARD = ("--env.kwargs", '{"scale": 0}')
ADAM = ("--outer", "optimizer")
SGD = (*ADAM, "--optimizer.name", "SGD")
OWN = ("--outer", "tests.helpers.faulty:Step")


def ended(capsys, out, *options):
    """What is said on standard error of a training that could not go on."""
    capsys.readouterr()
    words = ["navigation", *SMALL, "--env.kwargs", "{}"]
    if options[0] == "sinusoid":
        words = ["sinusoid", "--tasks", 3, "--threads", 1, "--quiet"]
        options = options[1:]
    with pytest.raises(SystemExit) as stop:
        run("train", *words, *options, "--out", out)
    assert stop.value.code == 1
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    return errors


LEARNS_NOTHING = {
    "no reward": (NO_REWARD, "gradient zero", "Look at the rewards"),
    "no reward, Adam": ((*NO_REWARD, *ADAM), "gradient zero", "Look at the rewards"),
    "no reward, ProMP": ((*NO_REWARD, "--algorithm", "promp"), "gradient zero", "rewards from 0"),
    "tiny region": (("--trust-region.max-kl", 1e-30), "no acceptable step", "max-kl"),
    "own, silent": (OWN, "parameters unchanged", "leave the parameters"),
    "own, said": (
        (*OWN, "--outer-settings.outcome", "gradient not finite"),
        "gradient not finite",
        "--inner.step-size",
    ),
}
"""Options, the reason that is told, and what to look at."""


@pytest.mark.parametrize(("options", "reason", "look"), LEARNS_NOTHING.values(), ids=LEARNS_NOTHING)
def test_a_run_of_which_no_step_was_accepted_says_so(tmp_path, capsys, options, reason, look):
    errors = ended(capsys, tmp_path / "run", *options, "--iterations", 2)
    assert f"Outer step 1 was refused: {reason}" in errors
    assert f"2 of 2 outer steps were refused: {reason} (2)." in errors
    assert "Nothing was learned" in errors
    assert look in errors
    folder = RunDir(tmp_path / "run")
    assert len(folder.read_metrics()) == 2
    assert learned(folder).iteration == 2
    assert (folder.plots / "learning.png").exists()


def test_refused_in_a_row_training_stops_and_a_resume_counts_on(tmp_path, capsys):
    errors = ended(capsys, tmp_path / "run", *NO_REWARD, "--iterations", 9, "--max-refused", 3)
    assert "The last 3 outer steps were refused" in errors
    folder = RunDir(tmp_path / "run")
    assert learned(folder).iteration == 3
    with pytest.raises(SystemExit) as stop:
        run("train", "--resume", folder.path, "--max-refused", 0, "--quiet")
    assert stop.value.code == 1
    assert "9 of 9 outer steps were refused: gradient zero (9)." in capsys.readouterr().err
    ended(capsys, tmp_path / "whole", *NO_REWARD, "--iterations", 9, "--max-refused", 0)
    assert_same_run(RunDir(tmp_path / "whole"), folder)


def test_accepted_steps_are_not_spoken_of(tmp_path, capsys):
    for name, options in {"own": (*OWN, "--outer-settings.change", 0.1), "trpo": ()}.items():
        run("train", "navigation", "--out", tmp_path / name, *SMALL, *options,
            *("--iterations", 2, "--env.kwargs", "{}"))  # fmt: skip
        assert capsys.readouterr().err == ""


GOES_WRONG = {
    "parameters": ((*OWN, "--outer-settings.wrong", "meta"), 2, "(params/"),
    "outer step's state": ((*OWN, "--outer-settings.wrong", "outer"), 2, "count"),
}
"""Options, the last iteration that is whole, and what is told of what is not finite."""


@pytest.mark.parametrize(("options", "done", "named"), GOES_WRONG.values(), ids=GOES_WRONG)
def test_what_is_not_finite_is_never_saved(tmp_path, capsys, options, done, named):
    if options[:2] == OWN:
        options = (*options, "--outer-settings.wrong-at", 2, "--outer-settings.change", 0.1)
    errors = ended(capsys, tmp_path / "run", *options, "--iterations", 4)
    assert f"Iteration {done} led to" in errors
    assert "not finite" in errors
    assert named in errors
    assert f"{done} of 4 iterations are saved" in errors
    stored = learned(RunDir(tmp_path / "run"))
    assert stored.iteration == done
    assert all(torch.isfinite(leaf).all() for leaf in tree.leaves(stored.meta))


def test_an_error_halfway_through_an_update_leaves_nothing_of_it(tmp_path, capsys):
    change = ("--outer-settings.change", 0.1)
    with pytest.raises(ValueError, match="halfway"):
        run("train", "navigation", "--out", tmp_path / "run", *SMALL, "--env.kwargs", "{}", *OWN,
            *change, "--outer-settings.wrong-at", 2, "--iterations", 4)  # fmt: skip
    assert (
        "2 of 4 iterations are saved. Go on with: rlmaml train --resume" in capsys.readouterr().err
    )
    run("train", "navigation", "--out", tmp_path / "whole", *SMALL, "--env.kwargs", "{}", *OWN,
        *change, "--iterations", 2)  # fmt: skip
    stored, whole = learned(RunDir(tmp_path / "run")), learned(RunDir(tmp_path / "whole"))
    assert stored.state["outer"]["count"] == 2
    assert all(map(torch.equal, tree.leaves(stored.meta), tree.leaves(whole.meta)))


def test_parameters_that_are_not_finite_are_nothing_to_start_from(tmp_path, capsys, monkeypatch):
    run("train", "sinusoid", "--out", tmp_path / "old", "--iterations", 1, "--quiet")
    stored = learned(RunDir(tmp_path / "old"))
    broken = stored._replace(meta=tree.map(lambda leaf: leaf * torch.nan, stored.meta))
    monkeypatch.setattr(checkpoint, "load", lambda path: broken)  # as earlier versions saved them
    for words in (
        ("train", "--resume", tmp_path / "old", "--iterations", 2),
        ("train", "sinusoid", "--init", tmp_path / "old", "--out", tmp_path / "new"),
    ):
        with pytest.raises(SystemExit) as stop:
            run(*words, "--quiet")
        assert stop.value.code == 2
        assert "not finite" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    with pytest.raises(FloatingPointError, match=r"params/mean.*is not"):
        checkpoint.save(tmp_path / "c", 3, broken.meta, {}, {})
    assert not (tmp_path / "c").exists()


def test_max_refused_is_a_count():
    with pytest.raises(ConfigError, match="max_refused must be zero or more"):
        TrainConfig(max_refused=-1)
