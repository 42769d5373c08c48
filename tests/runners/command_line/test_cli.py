"""The command line: what is refused, and help."""

import subprocess
import sys

import pytest

from rlmaml import checkpoint
from runners import presets
from runners.command_line.commands import COMMANDS
from tests.helpers.runs import TINY, flip, refused, run, tiny

pytestmark = pytest.mark.slow


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


BAYESIAN = ("--algorithm", "bayesian-maml")


ONE = ("--processes", "1")


CROSS_FITTED = ("--inner-advantages.baseline", "cross-fitted")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fly"], "Unknown command"),
        (["train", "no-such-preset"], "Unknown preset"),
        (["train", "navigation", "--tasks", "0"], "at least 1"),
        (["train", "navigation", "--inner.step-size", "-1"], "positive"),
        (["train", "navigation", "--env.kwargs", '{"wings": 2}'], "wings"),
        (["train", "navigation", "--env.id", "NoSuch-v0"], "NoSuch"),
        (["train", "navigation", "--device", "toaster"], "toaster"),
        (["train", "navigation", "--resume", "/nonexistent"], "not a run folder"),
        (["train"], "preset"),
        (["evaluate", "/nonexistent"], "not a run folder"),
        (["evaluate", "/etc/hosts"], "not a run folder"),
        (["train", "navigation", "--wings", "2"], "Unrecognized"),
        (["train", "navigation", "--tasks", "many"], "many"),
        (["train", "navigation", "--seeds", "0", "-1"], "zero or more"),
        (["train", "navigation", "--out", "/etc/hosts/run", *ONE], "Cannot make"),
        (["train", "navigation", "--device", "cuda:99"], "No such CUDA device"),
        (["list", "please"], "Unrecognized"),
        (["reproduce"], "row"),
        (["reproduce", "half-cheetah-dir"], "no row of the paper"),
        (["reproduce", "paper-point", "--seeds", "0"], "--seeds must be at least 1"),
        (["train", "sinusoid", "--batch-by", "steps"], "for data episodes"),
        (["train", "navigation", "--batch-by", "steps", *BAYESIAN], "Take batch_by episodes"),
        (["train", "navigation", "--episodes", "1", *CROSS_FITTED], "other episodes"),
    ],
)
def test_bad_input_is_told_and_code_2(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    if words == ["train"]:
        words = ["train", "--iterations", "3"]
    assert message in refused(capsys, *words)
    assert not list(tmp_path.iterdir())


def test_bad_run_folders_are_told_and_code_2(tmp_path, capsys):
    folder = tiny(tmp_path / "run")

    assert "exists already" in refused(capsys, "train", "half-cheetah-vel", "--out", folder.path)
    assert "tasks: 2 -> 3" in refused(capsys, "train", "--resume", folder.path, "--tasks", 3)
    assert "half-cheetah-vel" in refused(capsys, "train", "ant-vel", "--resume", folder.path)
    assert "throw some away" in refused(capsys, "train", "--resume", folder.path, "--iterations", 1)
    assert "leave out --out" in refused(
        capsys, "train", "--resume", folder.path, "--out", tmp_path / "x"
    )
    assert "at least 1" in refused(capsys, "evaluate", folder.path, "--tasks", 0)
    assert "same network settings" in refused(
        capsys, *("train", "navigation", "--out", tmp_path / "other", *TINY, "--init", folder.path)
    )
    places = sorted(folder.checkpoints.iterdir())
    for place in places:
        flip(place / checkpoint.META)
    assert "checksum" in refused(capsys, "evaluate", folder.path)
    assert "checksum" in refused(capsys, "train", "--resume", folder.path)
    for place in places:
        cut(place / checkpoint.MANIFEST)
    assert "not a complete checkpoint" in refused(capsys, "evaluate", folder.path)
    (folder.path / "config.json").write_text("{")
    assert "cannot be read" in refused(capsys, "evaluate", folder.path)


def test_help_comes_without_anything_heavy():
    script = "import sys, runners.__main__ as m; m.main(); print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "Adapt what was meta-trained to held-out tasks" in done.stdout
    for package in ("torch", "numpy", "gymnasium", "tyro"):
        assert f"'{package}'" not in done.stdout


def test_list_and_help(capsys):
    run("list")
    printed = capsys.readouterr().out
    assert all(name in printed for name in presets.PRESETS)
    run("--help")
    printed = capsys.readouterr().out
    assert all(f"rlmaml {name}" in printed for name in COMMANDS)
    assert "Adapt what was meta-trained to held-out tasks" in printed
    said = {}
    for option in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as stop:
            run("train", "navigation", option)
        assert stop.value.code == 0
        said[option] = capsys.readouterr().out
    assert "--trust-region.max-kl" in said["--help"]
    assert "--help-all" in said["--help"]
    for rarer in ("--trust-region.damping", "--chunk-size", "--optimizer.learning-rate"):
        assert rarer in said["--help-all"]
        assert rarer not in said["--help"]
