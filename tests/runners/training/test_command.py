"""What `rlmaml train` makes of its words: presets, algorithms, options, and what is refused."""

import dataclasses

import pytest

from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.run_dir import RunDir
from runners.training import command
from tests.helpers.outer_steps import Plain
from tests.helpers.runs import assert_same_run, refused, run

pytestmark = pytest.mark.slow

QUICK = ("--iterations", "2", "--tasks", "2", "--validation-tasks", "0", "--quiet")


def test_what_a_method_brings_is_made_for_the_options_given():
    config = PRESETS["sinusoid"][1]

    def chosen(*words):
        return command.parse(["sinusoid", *words])[2]

    alpha = chosen("--algorithm", "alpha-maml", "--inner.step-size", "0.5")
    assert alpha.algorithm_settings.alpha_rate == pytest.approx(0.1 * 0.5**2)
    many = chosen("--algorithm", "bayesian-maml", "--algorithm-settings.particles", "8")
    assert many.inner.step_size == pytest.approx(config.inner.step_size * 4)
    short = chosen("--algorithm", "maml++", "--iterations", "1000")
    assert short.algorithm_settings.cosine_iterations == 1000
    assert chosen("--inner.step-size", "0.5") == config.changed({"inner.step_size": 0.5})


def test_a_schedule_that_stops_learning_is_found_out(tmp_path, capsys):
    ends = {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 3}
    step = Optimizer("SGD", 1.0, schedule="LinearLR", schedule_kwargs=ends)
    step.validate_schedule(3)
    with pytest.raises(ValueError, match="to 0 after 3 of 4 iterations"):
        step.validate_schedule(4)
    run("train", "sinusoid", "--algorithm", "reptile", *QUICK, "--out", tmp_path / "a")
    with pytest.raises(SystemExit):
        run("train", "--resume", tmp_path / "a", "--iterations", "4", "--quiet")
    assert "nothing more would be learned" in capsys.readouterr().err


PAPER = ("--inner.surrogate", "log-likelihood")


E_MAML = ("--algorithm", "e-maml")


@pytest.mark.parametrize(
    ("preset", "options", "message"),
    [
        (
            "navigation",
            f"{' '.join(E_MAML)} --outer-advantages.normalize True",
            "take outer_advantages.normalize False",
        ),
        (
            "navigation",
            f"{' '.join(E_MAML)} --inner.surrogate dice",
            "count that a second time. Take inner.surrogate log-likelihood",
        ),
        (
            "navigation",
            f"{' '.join(E_MAML)} --tasks 1",
            "least 2 and a multiple of algorithm_settings.task_copies, got 1",
        ),
        (
            "navigation",
            f"{' '.join(E_MAML)} --algorithm-settings.task-copies 3",
            "multiple of algorithm_settings.task_copies, got 20 and",
        ),
        ("navigation", "--algorithm-settings.task-copies 2", "algorithm-settings.task-copies"),
        ("navigation", "--algorithm promp --outer trust-region", "Take outer optimizer"),
        (
            "navigation",
            f"--algorithm promp {' '.join(PAPER)}",
            "Take inner.surrogate lvc",
        ),
        ("navigation", "--algorithm fo-maml --inner.hessian separate", "leaves out"),
        ("sinusoid", "--inner.surrogate dice", "for data episodes"),
        ("sinusoid", "--inner.reduction episodes", "for data episodes"),
        ("sinusoid", "--algorithm e-maml", "for episodes"),
        ("sinusoid", "--algorithm pytest:raises", "is no algorithm"),
        ("sinusoid", "--algorithm nothing", "Unknown algorithm 'nothing'"),
    ],
)
def test_what_does_not_go_together_is_told_and_code_2(tmp_path, capsys, preset, options, message):
    out = tmp_path / "run"
    assert message in refused(capsys, "train", preset, "--out", out, *options.split())
    assert not out.exists()


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("sinusoid", {"outer": "trust-region"}, "not go with outer trust-region"),
        (
            "digits",
            {"algorithm_settings.loss": "chaser", "outer": "trust-region"},
            "not go with outer trust-region",
        ),
        ("navigation", {"algorithm_settings.loss": "chaser"}, "not go with outer trust-region"),
        (
            "navigation",
            {"episodes": 21},
            "episodes must be a multiple of algorithm_settings.particles, 5",
        ),
        (
            "navigation",
            {"trust_region.fisher_fraction": 0.1},
            "fisher_fraction .* must be a multiple",
        ),
        (
            "navigation",
            {
                "algorithm_settings.loss": "chaser",
                "outer": "optimizer",
                "inner.surrogate": "log-likelihood",
            },
            "does not correct for",
        ),
        (
            "sinusoid",
            {"algorithm_settings.particles": 0},
            "algorithm_settings.particles must be at least 1",
        ),
        (
            "sinusoid",
            {"algorithm_settings.leader_steps": 0},
            "algorithm_settings.leader_steps must be at least 1",
        ),
        (
            "sinusoid",
            {"algorithm_settings.prior": -1.0},
            "algorithm_settings.prior must be zero or positive",
        ),
        (
            "sinusoid",
            {"algorithm_settings.repulsion": -1.0},
            "algorithm_settings.repulsion must be zero or positive",
        ),
    ],
)
def test_what_is_refused(preset, changes, message):
    config = with_algorithm(PRESETS[preset][1], "bayesian-maml")

    def change():
        parts = {}
        for option, value in changes.items():
            group, _, name = option.rpartition(".")
            part = parts.get(group, getattr(config, group)) if group else None
            parts[group or name] = dataclasses.replace(part, **{name: value}) if group else value
        dataclasses.replace(config, **parts)

    with pytest.raises(ValueError, match=message):
        change()


OWN = "tests.helpers.outer_steps:Plain"


@pytest.fixture
def own(tmp_path):
    """A run by an outer step of one's own, with a setting of its own."""
    folder = tmp_path / "own"
    run(
        "train", "sinusoid", *QUICK, "--outer", OWN, "--outer-settings.rate", "0.3", "--out", folder
    )
    return folder


def test_an_outer_step_of_ones_own_keeps_its_settings(own):
    file = str(own / "config.json")
    for arguments in (["--config", file], ["--resume", str(own)]):
        for more in ([], ["--outer", OWN], ["--algorithm", "maml"]):
            config = command.parse([*arguments, *more])[2]
            assert config.outer_step == Plain(0.3)
    changed = command.parse(["--config", file, "--outer", OWN, "--outer-settings.rate", "0.5"])[2]
    assert changed.outer_step == Plain(0.5)


@pytest.mark.parametrize(
    ("arguments", "outer"),
    [
        (["--outer", "trust-region"], TrustRegion()),
        (["--algorithm", "reptile"], PRESETS["sinusoid"].config.optimizer),
    ],
)
def test_settings_of_an_outer_step_go_with_it(own, arguments, outer):
    config = command.parse(["--config", str(own / "config.json"), *arguments])[2]
    if arguments[0] == "--outer":
        assert config.outer_step == outer
    assert config.outer_settings is None or config.outer == OWN
    assert type(config).from_dict(config.to_dict()) == config


def test_an_algorithm_and_its_outer_step_are_chosen_together():
    """What is chosen is not held against the algorithm of before, which goes with Adam alone."""
    config = with_algorithm(PRESETS["navigation"].config, "promp")
    given = {"outer": "trust-region", "iterations": 7}
    chosen = command.Choice(algorithm="maml", outer="trust-region")
    changed = command._with_options(config, chosen, given)
    assert (changed.algorithm, changed.outer, changed.iterations) == ("maml", "trust-region", 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--outer", "tests.helpers.outer_steps:Demanding"), "has no default for its name"),
        (("--outer", OWN, "--outer-settings.rate", "-1"), "rate must not be negative"),
        (("--seeds", "0", "1", "0"), "names a seed twice"),
        (("--outer", "nowhere:Step"), "Cannot import the outer step"),
    ],
)
def test_what_a_user_brings_is_refused_in_one_line(tmp_path, capsys, arguments, message):
    out = ("--out", tmp_path / "run")
    assert message in refused(capsys, "train", "sinusoid", *QUICK, *out, *arguments)
    assert not (tmp_path / "run").exists()


def test_repeating_a_run_starts_from_what_it_started_from(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    run("train", "sinusoid", *QUICK, "--out", first)
    run("train", "sinusoid", *QUICK, "--init", first, "--out", second)
    run("train", "--config", second / "config.json", "--quiet", "--out", tmp_path / "third")
    assert RunDir(tmp_path / "third").read_origin().init == str(first)
    assert_same_run(RunDir(second), RunDir(tmp_path / "third"))


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_without_a_preset_lists_the_presets(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        run("train", *arguments)
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "rlmaml train --resume DIR" in printed
    assert all(f"\n{name} " in printed for name in PRESETS)
