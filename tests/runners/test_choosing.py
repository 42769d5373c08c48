"""Choosing a method: what it brings, what is taken over from another's run, what is refused."""

import shutil
from dataclasses import replace

import pytest
import torch

import rlmaml
from rlmaml import algorithms, tree
from rlmaml.outer.optimizer import Optimizer
from rlmaml.rng import generator
from runners.build import build
from runners.evaluation.baselines import baseline_config
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.run_dir import RunDir
from runners.training import command, train
from tests.helpers.runs import learned, run

QUICK = ("--iterations", "2", "--tasks", "2", "--validation-tasks", "0", "--quiet")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", algorithms.TABLE)
def test_every_method_has_usual_settings_for_every_preset(preset, name):
    config = PRESETS[preset][1]
    if config.data == "examples" and "episodes" in algorithms.get_algorithm(name).requires:
        with pytest.raises(ValueError, match="is for episodes"):
            with_algorithm(config, name)
        return
    found = with_algorithm(config, name)
    assert found.algorithm == name
    assert type(found).from_dict(found.to_dict()) == found


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


def test_a_method_with_fresh_minibatches_is_evaluated_on_one_set_of_shots():
    config = with_algorithm(replace(PRESETS["sinusoid"][1], tasks=3), "reptile")
    counts = {}
    for tasks in (None, 3):
        sampler = build(config, tasks=tasks).sampler
        points = sampler.family.sample(3, generator(0))
        sets = [sampler({}, points, (0, 0, 0), "support", k).inputs for k in range(5)]
        counts[tasks] = len(torch.cat(sets, 1)[0].unique())
    assert counts == {None: 5 * config.examples.shots, 3: config.examples.shots}


def test_baselines_have_the_presets_optimizer():
    config = PRESETS["sinusoid"][1]
    for name in ("pretrained", "oracle"):
        found = baseline_config(with_algorithm(config, "reptile"), name)
        assert found.optimizer == config.optimizer
        assert found.inner.step_size == config.inner.step_size


@pytest.mark.parametrize(
    ("preset", "first", "second"),
    [
        ("digits", "maml", "maml++"),
        ("sinusoid", "maml", "bayesian-maml"),
        ("sinusoid", "meta-sgd", "alpha-maml"),
        ("sinusoid", "cavia", "meta-sgd"),
        ("sinusoid", "bayesian-maml", "bayesian-maml"),
    ],
)
def test_a_method_starts_from_anothers_run(tmp_path, preset, first, second):
    run("train", preset, "--algorithm", first, *QUICK, "--out", tmp_path / "a")
    words = ("--algorithm", second, "--init", tmp_path / "a", "--out", tmp_path / "b")
    run("train", preset, *words, *QUICK[2:], "--iterations", "0")
    begun, source = (learned(RunDir(tmp_path / name)).meta for name in "ba")
    for name, value in source["params"].items():
        if first == second or second != "bayesian-maml":
            found = begun["params"].get(name)
            if found is None:  # a scale or shift of every step
                found = begun["norms"][name][-1]
        else:
            found = begun["params"][name][0]
        assert torch.equal(found, value)


def test_other_networks_are_refused_with_both_shapes(tmp_path, capsys):
    run("train", "sinusoid", *QUICK, "--out", tmp_path / "a", "--policy.hidden", "7")
    with pytest.raises(SystemExit):
        run("train", "sinusoid", *QUICK, "--init", tmp_path / "a", "--out", tmp_path / "b")
    said = capsys.readouterr().err
    assert "(7, 1)" in said
    assert "(40, 1)" in said


def test_a_run_killed_before_its_first_checkpoint_begins_where_it_was_to(tmp_path):
    run("train", "sinusoid", *QUICK, "--out", tmp_path / "a")
    for name in "bc":
        run("train", "sinusoid", *QUICK, "--init", tmp_path / "a", "--out", tmp_path / name)
    shutil.rmtree(tmp_path / "c" / "checkpoints")
    run("train", "--resume", tmp_path / "c", "--quiet")
    b, c = (tree.ravel(learned(RunDir(tmp_path / name)).meta)[0] for name in "bc")
    assert torch.equal(b, c)


def test_groups_without_tensors_survive_a_checkpoint(tmp_path):
    """A bag of embeddings has no biases in its trunk, so that there is nothing to shift."""
    small = ("--examples.shots", "1", "--examples.queries", "1", *QUICK)
    run("train", "docstrings", "--algorithm", "pretraining", *small, "--out", tmp_path / "a")
    words = ("--algorithm", "meta-transfer", "--init", tmp_path / "a", "--out", tmp_path / "b")
    run("train", "docstrings", *words, *small)
    learner = rlmaml.load(tmp_path / "b")
    size = learner.meta["params"]["words.weight"].shape[1]
    assert learner.meta["scale"]["words.weight"].shape == (size,)  # of every feature of a word
    predictor = learner.adapt(torch.zeros(5, 32, dtype=torch.int64), torch.arange(5))
    assert predictor(torch.zeros(2, 32, dtype=torch.int64)).shape == (2,)


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


def test_learned_step_sizes_are_not_replaced(tmp_path, capsys):
    for name, method in (("a", "meta-sgd"), ("b", "maml++")):
        run("train", "sinusoid", "--algorithm", method, *QUICK, "--out", tmp_path / name)
        with pytest.raises(SystemExit):
            run("evaluate", tmp_path / name, "--step-size", "0.1", "--quiet")
        assert f"step sizes that {method} has learned" in capsys.readouterr().err
    words = ("--algorithm", "maml++", "--algorithm-settings.learn-step-sizes", "False")
    run("train", "sinusoid", *words, *QUICK, "--out", tmp_path / "c")
    run("evaluate", tmp_path / "c", "--step-size", "0.1", "--tasks", "3", "--quiet")


def test_the_cost_of_a_run_is_that_of_its_middle(monkeypatch):
    seen = []
    config = with_algorithm(replace(PRESETS["sinusoid"][1], tasks=2, iterations=50), "maml++")
    monkeypatch.setattr("runners.evaluation.profile.SECONDS", 0.0)
    real = train.meta_batch

    def noted(*arguments):
        seen.append(arguments)
        return real(*arguments)

    monkeypatch.setattr("runners.evaluation.profile.meta_batch", noted)
    kind = algorithms.get_algorithm("maml++")
    states = []
    update = kind.update
    monkeypatch.setattr(kind, "update", lambda self, s, b: states.append(s) or update(self, s, b))
    from runners.evaluation import profile

    profile.measure(config)
    assert states[0].iteration == 25
    assert len(seen) == len(states) >= profile.LEAST
