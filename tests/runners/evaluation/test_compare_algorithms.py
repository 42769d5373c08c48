"""`rlmaml compare`: methods on one problem, with the same budget."""

import json
from dataclasses import replace
from functools import partial

import pytest

from rlmaml import algorithms
from rlmaml.build import data_per_task
from rlmaml.config import ExamplesConfig
from rlmaml.errors import ConfigError
from runners.environments import build_experiment
from runners.evaluation import compare_algorithms, profile
from runners.evaluation.algorithm_rows import AlgorithmComparison
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.run_dir import RunDir
from runners.training import train
from tests.helpers.reports import rewrite
from tests.helpers.runs import run

pytestmark = pytest.mark.slow

SMALL = {
    "sinusoid": replace(
        PRESETS["sinusoid"][1], tasks=3, examples=ExamplesConfig(4, 5), log_every=1
    ),
    "navigation": replace(PRESETS["navigation"][1], tasks=4, episodes=5, horizon=3),
}


COST = profile.Cost(iterations_per_second=5.0, updates_per_second=6.0, peak_memory_mb=7.0)


@pytest.fixture
def free(monkeypatch):
    """Without the processes that measure what an iteration costs."""
    monkeypatch.setattr(profile, "in_own_process", lambda config: COST)


@pytest.mark.parametrize("preset", SMALL)
@pytest.mark.parametrize("name", algorithms.TABLE)
def test_the_budget_is_what_a_meta_iteration_draws(preset, name):
    config = SMALL[preset]
    try:
        config = with_algorithm(config, name)
    except ValueError as problem:
        pytest.skip(str(problem))
    experiment = build_experiment(config)
    batch = train.meta_batch(
        experiment, config, experiment.algorithm.init_meta(experiment.params), 0
    )
    drawn = experiment.metric.steps(batch)
    experiment.close()
    per_unit = config.horizon if config.data == "episodes" else 1
    assert drawn == data_per_task(config) * config.tasks * per_unit


def test_methods_in_one_table(tmp_path, capsys, monkeypatch, free):
    monkeypatch.setitem(PRESETS, "sinusoid", ("", SMALL["sinusoid"]))
    out = tmp_path / "compared"
    words = ("compare", "sinusoid", "--iterations", "18", "--tasks", "4", "--out", out, "--quiet")
    names = ("maml", "reptile", "meta-transfer")
    run(*words, "--algorithms", *names)
    shown = capsys.readouterr().out
    result = json.loads((out / "algorithms.json").read_text())
    assert list(result["algorithms"]) == list(names)
    assert result["steps"] == [0, 1, 5, 10]
    rows = result["algorithms"]
    assert rows["maml"]["iterations"] == 18  # 9 examples each
    assert rows["reptile"]["iterations"] == round(18 * 9 / (5 * 4 + 5))
    assert (
        rows["reptile"]["made_from"]["config"]["optimizer"]["schedule_kwargs"]["total_iters"] == 6
    )
    assert rows["meta-transfer"]["iterations"] == 9  # half the data
    start = RunDir(out / "meta-transfer" / "seed-0-pretraining")
    assert start.read_config().iterations == rows["meta-transfer"]["iterations_before"] == 16
    assert RunDir(out / "meta-transfer" / "seed-0").read_origin().init == str(start.path)
    for name, row in rows.items():
        stored = json.loads((out / name / "seed-0" / "evaluation.json").read_text())
        assert row["mean"] == [pytest.approx(stored["mean"][k]) for k in result["steps"]]
        assert row["ci95"] == [pytest.approx(stored["ci95"][k]) for k in result["steps"]]
        (line,) = (line for line in shown.splitlines() if line.startswith(name))
        assert f"{row['mean'][1]:.3f}" in line
        assert str(row["iterations"]) in line
    text = (out / "algorithms.csv").read_text()
    assert len(text.splitlines()) == 1 + 3 * 4

    # Again: nothing is measured anew, unless it is something else.
    monkeypatch.setattr(profile, "in_own_process", lambda config: replace(COST, peak_memory_mb=0.0))
    run(*words, "--algorithms", *names)
    again = json.loads((out / "algorithms.json").read_text())
    assert again == result
    assert result["command"].startswith("rlmaml compare sinusoid --iterations 18")
    monkeypatch.setattr(profile, "in_own_process", lambda config: COST)

    # With one more seed: what is there stays, and intervals are over seeds.
    kept = [RunDir(out / name / "seed-0").read_metrics() for name in names]
    run(*words, "--algorithms", *names, "--seeds", "0", "1")
    assert kept == [RunDir(out / name / "seed-0").read_metrics() for name in names]
    again = json.loads((out / "algorithms.json").read_text())["algorithms"]["maml"]
    assert again["per_seed"][0] == pytest.approx(rows["maml"]["mean"])
    first, second = again["per_seed"]
    assert again["mean"] == [pytest.approx((a + b) / 2) for a, b in zip(first, second, strict=True)]
    # Student's t of one degree of freedom, a Cauchy: 12.7 times the error of two.
    halves = [12.7062 * abs(a - b) / 2 for a, b in zip(first, second, strict=True)]
    assert again["ci95"] == [pytest.approx(half, rel=1e-4) for half in halves]


def test_a_row_of_an_earlier_version_is_known_again(tmp_path, monkeypatch, free):
    config = replace(SMALL["sinusoid"], iterations=4)
    made = partial(
        compare_algorithms.compare_algorithms,
        config,
        tmp_path,
        names=("meta-transfer",),
        tasks=3,
        quiet=True,
    )
    before = made().algorithms["meta-transfer"].to_record()

    def with_old_names(row):
        for name in ("config", "before"):
            stored = row["made_from"][name]
            stored["optimiser"] = stored.pop("optimizer")
            stored["normalise_observations"] = stored.pop("normalize_observations")
            stored["method"] = stored.pop("algorithm_settings")
            stored["outer_advantages"]["normalise"] = stored["outer_advantages"].pop("normalize")

    kept = tmp_path / "meta-transfer" / "row.json"
    rewrite(kept, with_old_names)
    with monkeypatch.context() as patched:
        patched.setattr(profile, "in_own_process", lambda config: pytest.fail("timed again"))
        again = made().algorithms["meta-transfer"].to_record()
    assert {**again, "made_from": None} == {**before, "made_from": None}

    # One of settings that this version does not have is made anew.
    rewrite(kept, lambda row: row["made_from"]["config"].update(unknown=1))
    assert made().algorithms["meta-transfer"].to_record()["made_from"] == before["made_from"]


def test_what_does_not_apply_is_listed_with_the_reason(tmp_path, capsys, monkeypatch, free):
    monkeypatch.setitem(PRESETS, "sinusoid", ("", SMALL["sinusoid"]))
    table = {name: algorithms.TABLE[name] for name in ("maml", "e-maml")}
    monkeypatch.setattr(algorithms, "TABLE", table)
    out = tmp_path / "compared"
    run("compare", "sinusoid", "--iterations", "2", "--tasks", "2", "--out", out, "--quiet")
    assert "e-maml: does not apply. EMAML is for episodes" in capsys.readouterr().out


def test_a_row_that_diverged_is_kept_as_that(tmp_path, capsys, monkeypatch, free):
    config = replace(SMALL["sinusoid"], inner=replace(SMALL["sinusoid"].inner, step_size=1e4))
    monkeypatch.setitem(PRESETS, "sinusoid", ("", config))
    words = ("compare", "sinusoid", "--iterations", "1", "--tasks", "2", "--quiet")
    for _ in range(2):
        run(*words, "--algorithms", "fo-maml", "--out", tmp_path)
        (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("fo-maml"))
        assert line.split().count("diverged") == 2  # after five and ten steps


def test_a_method_that_blows_up_does_not_take_the_others_with_it(
    tmp_path, capsys, monkeypatch, free
):
    monkeypatch.setitem(PRESETS, "sinusoid", ("", SMALL["sinusoid"]))
    real = compare_algorithms.measure

    def measure(folder, config, **settings):
        if folder.read_config().algorithm == "maml":
            raise FloatingPointError("Not finite.")
        return real(folder, config, **settings)

    monkeypatch.setattr(compare_algorithms, "measure", measure)
    words = ("compare", "sinusoid", "--iterations", "2", "--tasks", "2", "--quiet", "--algorithms")
    run(*words, "maml", "fo-maml", "--out", tmp_path / "out")
    shown = capsys.readouterr().out
    assert "maml: failed. Not finite." in shown
    assert "fo-maml  " in shown
    with pytest.raises(SystemExit):
        run(*words, "maml", "--out", tmp_path / "alone")
    assert "No algorithm could be compared. Not finite." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing",), "Unknown preset"),
        ((), "PRESET"),
        (("sinusoid", "--algorithms", "e-maml"), "is for episodes"),
        (("sinusoid", "--algorithms", "mamml"), "Unknown algorithm 'mamml'"),
        (("sinusoid", "--iterations", "0"), "--iterations must be at least 1"),
        (("sinusoid", "--tasks", "0"), "--tasks must be at least 1, got 0"),
        (("sinusoid", "--seeds", "0", "-1"), "--seeds must be at least 0, got -1"),
        (("sinusoid", "--seeds", "0", "1", "0"), "--seeds must differ, got 0, 1 and 0"),
        (("sinusoid", "--seeds"), "--seeds"),
    ],
)
def test_bad_input_is_one_line_and_code_2(tmp_path, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        run("compare", *words, "--out", tmp_path / "out")
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("settings", [{"tasks": 0}, {"seeds": ()}, {"seeds": (2, 2)}])
def test_bad_sizes_are_refused_before_anything_is_trained(tmp_path, settings):
    with pytest.raises(ConfigError, match=f"--{next(iter(settings))}"):
        compare_algorithms.compare_algorithms(SMALL["sinusoid"], tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_a_single_run_needs_what_its_method_starts_from(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("train", "sinusoid", "--algorithm", "meta-transfer", "--out", tmp_path / "run")
    said = capsys.readouterr().err
    assert "--algorithm pretraining --out DIR" in said
    assert "--algorithm meta-transfer --init DIR" in said


def test_it_is_read_as_it_was_written(tmp_path, free):
    config = replace(SMALL["sinusoid"], iterations=2)
    made = compare_algorithms.compare_algorithms(
        config, tmp_path, names=("maml", "fo-maml"), tasks=3, quiet=True
    )
    read = AlgorithmComparison.load(tmp_path / "algorithms.json")
    assert str(read) == str(made).rpartition("\nWritten")[0]
    assert read.algorithms["maml"].cost == COST
    assert (read.command, read.seeds) == (None, (0,))
