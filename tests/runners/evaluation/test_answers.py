"""The picture of a task of images: what is shown is what was scored."""

import numpy as np
import pytest

from runners.evaluation import answers
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import measure
from tests.helpers.runs import tiny

SMALL = ("--data", "examples", "--examples.queries", "4", "--validation-tasks", "0")


def train(folder, preset, *more):
    return tiny(folder, "--conv.filters", "2", "--tasks", "2", *more, preset=preset)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["transductive", "support"])
def test_answers_are_those_that_were_scored(tmp_path, norm):
    run = train(tmp_path / "run", "digits", "--conv.batch-norm", norm)
    result = measure(run, EvalConfig(tasks=3, steps=2, queries=4), quiet=True)
    found = result.answers
    assert found.support.shape == (3, 1, 8, 8)
    assert found.queries.shape == (12, 1, 8, 8)
    assert found.answers.shape == (3, 12)
    assert sorted(found.labels) == [0, 1, 2]
    right = (found.answers == found.truth).mean(1)
    np.testing.assert_allclose(right, result.scores["accuracy"][0], atol=1e-6)
    assert (
        result.save(tmp_path / "evaluation.json").load(tmp_path / "evaluation.json").answers is None
    )


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["sinusoid", "navigation"])
def test_other_tasks_have_none(tmp_path, preset):
    run = train(tmp_path / "run", preset)
    assert measure(run, EvalConfig(tasks=2, steps=1), quiet=True).answers is None


def test_wrong_answers_name_the_class(tmp_path):
    figures = []
    images = np.random.default_rng(0).random((5, 3, 6, 6))
    labels = np.arange(5)
    said = np.stack([labels, [0, 1, 2, 3, 1]])
    found = answers.Answers(images, labels, images, labels, said)
    answers.draw(found, figures.append, "glyphs")
    (figure,) = figures
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["0", "1", "2", "3", "4", "0", "1", "2", "3", "1, not 4"]
    assert figure.get_suptitle() == "glyphs: 4 of 5 queries right after 1 step"
