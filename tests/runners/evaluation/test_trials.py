"""Settings by trials: what is drawn, what wins, what is kept."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from rlmaml import algorithms
from rlmaml.build import data_per_task
from rlmaml.config import ExamplesConfig
from rlmaml.errors import ConfigError
from runners.evaluation import profile, trials
from runners.evaluation.compare_algorithms import compare_algorithms
from runners.evaluation.trials import Search, TrialConfig, budgeted
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.run_dir import RunDir
from tests.helpers.runs import run

SMALL = {
    "sinusoid": replace(
        PRESETS["sinusoid"][1], tasks=3, examples=ExamplesConfig(4, 5), log_every=1, iterations=4
    ),
    "navigation": replace(PRESETS["navigation"][1], tasks=4, episodes=5, horizon=3, iterations=2),
}
COST = profile.Cost(iterations_per_second=5.0, updates_per_second=6.0, peak_memory_mb=7.0)


def search(tmp_path, config, name="maml", **how):
    data = Fraction(config.iterations * data_per_task(config))
    return Search(config, name, data, 3, TrialConfig(**{"count": 12, **how}), tmp_path)


@pytest.mark.parametrize("preset", SMALL)
@pytest.mark.parametrize("name", algorithms.TABLE)
def test_every_algorithm_can_be_tried(tmp_path, preset, name):
    config = SMALL[preset]
    try:
        own = with_algorithm(config, name)
    except ConfigError as problem:
        pytest.skip(str(problem))
    looked = search(tmp_path, config, name)
    drawn = looked.drawn()
    assert drawn[0] == {}
    assert len(drawn) == 12
    for options in drawn:
        changed = budgeted(config, name, looked.data, options)  # raises nothing
        drawn_data = changed.iterations * data_per_task(changed)
        assert abs(drawn_data - looked.data) <= data_per_task(changed) / 2
    sizes = np.array([options["inner.step_size"] for options in drawn[1:]]) / own.inner.step_size
    assert ((sizes > 0.095) & (sizes < 10.5)).all()
    assert looked.drawn() == drawn
    assert replace(looked, how=TrialConfig(12, seed=101)).drawn() != drawn


def test_sizes_and_rates_meet_every_part_of_their_range(tmp_path):
    own = SMALL["sinusoid"]
    drawn = search(tmp_path, own).drawn()[1:]
    rates = {"inner.step_size": own.inner.step_size, "optimizer.learning_rate": 1e-3}
    for name, value in rates.items():
        shares = sorted((np.log10(options[name] / value) + 1) / 2 for options in drawn)
        middles = (np.arange(11) + 0.5) / 11
        # Of numbers two digits are kept, which moves them by a twentieth, .011 of the range.
        assert np.abs(shares - middles).max() <= 0.5 / 11 + 0.011


def test_the_best_trial_wins_and_none_is_done_twice(tmp_path, monkeypatch):
    looked = search(tmp_path, SMALL["sinusoid"], count=4)
    drawn = looked.drawn()
    scores = dict(zip(map(str, drawn), (3.0, 1.0, None, 2.0), strict=True))
    tried = []

    def measured(self, options, folder, train, quiet):
        tried.append(folder.name)
        return trials.Trial(options, scores[str(options)], "mse")

    monkeypatch.setattr(Search, "_tried", measured)
    assert looked.best(None, quiet=True) == drawn[1]  # of an error the least
    assert tried == ["00", "01", "02", "03"]
    assert looked.best(None, quiet=True) == drawn[1]
    assert tried == ["00", "01", "02", "03"]
    stored = json.loads((tmp_path / "trials.json").read_text())["trials"]
    assert [each["score"] for each in stored] == [3.0, 1.0, None, 2.0]
    # Others are looked for anew.
    replace(looked, tasks=4).best(None, quiet=True)
    assert tried == ["00", "01", "02", "03"] * 2
    scores.update(dict.fromkeys(scores))
    assert replace(looked, tasks=5).best(None, quiet=True) == {}


def test_returns_are_to_be_high():
    low, high, none = (trials.Trial({}, score, "return") for score in (-2.0, -1.0, None))
    assert high.merit > low.merit > none.merit


def test_a_search_and_the_runs_that_come_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(profile, "in_own_process", lambda config: COST)
    monkeypatch.setitem(PRESETS, "sinusoid", ("", SMALL["sinusoid"]))
    out = tmp_path / "compared"
    words = ("compare", "sinusoid", "--iterations", "8", "--trials", "3", "--trial-iterations", "4")
    words += ("--tasks", "4", "--algorithms", "maml", "meta-transfer", "--out", out, "--quiet")
    run(*words)
    shown = capsys.readouterr()
    rows = json.loads((out / "algorithms.json").read_text())["algorithms"]
    for name, length in (("maml", 4), ("meta-transfer", 2)):
        found = json.loads((out / name / "trials" / "trials.json").read_text())
        assert found["made_from"]["seed"] == 100
        best = min(found["trials"], key=lambda trial: trial["score"] or np.inf)
        assert rows[name]["chosen"] == best["options"]
        assert rows[name]["trials"] == 3
        ran = RunDir(out / name / "seed-0").read_config()
        assert ran.changed(best["options"]) == ran
        tried = RunDir(out / name / "trials" / "00").read_config()
        assert (tried.seed, tried.iterations) == (100, length)
        assert f"{name}, trial 3 of 3" in shown.err
    assert shown.out.count("the best of 3 trials") == 2
    start = RunDir(out / "meta-transfer" / "trials" / "seed-100-pretraining")
    assert RunDir(out / "meta-transfer" / "trials" / "01").read_origin().init == str(start.path)
    before = (out / "algorithms.json").read_bytes()
    run(*words)  # what is there is taken
    assert (out / "algorithms.json").read_bytes() == before


def test_trials_are_scored_on_validation_tasks(tmp_path, monkeypatch):
    asked = []
    real = trials.measure

    def measure(folder, config, **settings):
        asked.append((config.split, config.seed, folder.read_config().seed))
        return real(folder, config, **settings)

    monkeypatch.setattr(trials, "measure", measure)
    monkeypatch.setattr(profile, "in_own_process", lambda config: COST)
    how = TrialConfig(2, seed=7)
    compare_algorithms(
        SMALL["sinusoid"], tmp_path, names=("maml",), tasks=3, trials=how, quiet=True
    )
    assert asked == [("validation", 7, 7)] * 2


def test_one_that_blows_up_has_no_score(tmp_path):
    def train(config, folder):
        raise FloatingPointError("Not finite.")

    looked = search(tmp_path, SMALL["sinusoid"], count=2)
    assert looked.best(train, quiet=True) == {}
    stored = json.loads((tmp_path / "trials.json").read_text())["trials"]
    assert [(each["score"], each["problem"]) for each in stored] == [(None, "Not finite.")] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--trials", "-1"), "--trials must be at least 0"),
        (("--trials", "2", "--trial-iterations", "0"), "--trial-iterations must be at least 1"),
        (("--trials", "2", "--trial-seed", "0"), "--trial-seed 0 is among --seeds"),
        (("--trial-iterations", "5"), "--trial-iterations goes with --trials"),
    ],
)
def test_bad_input_is_refused_at_the_door(tmp_path, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        run("compare", "sinusoid", *words, "--out", tmp_path / "out")
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_settings_that_are_always_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Search, "_allowed", lambda self, options: False)
    with pytest.raises(ConfigError, match="maml refuses 1000 settings around its own on sinusoid"):
        search(tmp_path, SMALL["sinusoid"]).drawn()
