"""Policies that come with the package: small, of no machine, and ready to adapt."""

import re
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

import rlmaml
from rlmaml import sources
from rlmaml.rng import generator
from runners import formatting
from runners.environments import make_family, make_single, make_with_task
from runners.evaluation import tables
from runners.evaluation.results import Evaluation
from runners.presets import list_presets
from runners.run_dir import RunDir

ROOT = Path(__file__).parents[2]
LARGEST = 200_000
"""Bytes of one of them."""
SECONDS = 30
"""To load and adapt, on a machine that is busy."""


def files(name):
    return [path for path in (sources.PRETRAINED / name).rglob("*") if path.is_file()]


def test_there_are_some():
    assert {"half-cheetah-dir", "navigation", "sinusoid"} <= set(sources.names())
    assert ", ".join(sources.names()) in list_presets()


@pytest.mark.parametrize("name", sources.names())
def test_it_is_small_and_of_no_machine(name):
    assert sum(path.stat().st_size for path in files(name)) < LARGEST
    assert {path.suffix for path in files(name)} == {".json", ".safetensors", ".md"}
    for path in files(name):
        found = re.search(rb"(?<![\w.:/])/[\w.-]+/[\w./-]*", path.read_bytes())
        assert found is None or path.suffix == ".safetensors", (path.name, found)


@pytest.mark.parametrize("name", sources.names())
def test_a_wheel_has_its_files(name):
    """By the patterns of what is no code."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        patterns = tomllib.load(file)["tool"]["setuptools"]["package-data"]["rlmaml"]
    package = sources.PRETRAINED.parent
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    assert set(files(name)) <= packed


@pytest.mark.parametrize("name", sources.names())
def test_its_evaluation_is_of_it(name):
    run = RunDir(sources.PRETRAINED / name)
    learner = rlmaml.load(name)
    result = Evaluation.load(run.evaluation)
    digest = rlmaml.learner.checkpoints.meta_digest(learner.path)
    assert result.checkpoint_sha256 == digest
    assert result.iteration == learner.iteration == run.read_config().iterations
    sign = 1 if result.higher_is_better else -1
    assert sign * result.mean[learner.config.inner.steps] > sign * result.mean[0]
    assert f"rlmaml.load({name!r})".replace("'", '"') in (run.path / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", sources.names())
def test_it_adapts(name):
    began = time.perf_counter()
    learner = rlmaml.load(name)
    config = learner.config
    if learner.supervised:
        family = make_family(config)
        tasks = family.sample(1, generator(0), "test")
        (x, y), (x_of_others, _) = family.episode(tasks, config.examples.shots, 5, generator(1))
        assert np.isfinite(learner.adapt(x[0], y[0])(x_of_others[0])).all()
    else:
        env = make_single(config)
        task = Evaluation.load(RunDir(sources.PRETRAINED / name).evaluation).tasks[0]
        policy = learner.adapt(lambda: make_with_task(config, task))
        observation, _ = env.reset(seed=0)
        assert env.action_space.contains(policy.predict(observation)[0])
    assert time.perf_counter() - began < SECONDS


def test_the_documentation_has_its_figures():
    """Each policy's row in docs/sharing.md: means and half-intervals after each step."""
    page = (ROOT / "docs" / "sharing.md").read_text()
    for name in sources.names():
        result = Evaluation.load(sources.PRETRAINED / name / "evaluation.json")
        decimals = formatting.digits(result.metric, result.mean)
        cells = [
            str(tables.plus_minus(mean, half, decimals))
            for mean, half in zip(result.mean[:4], result.ci95[:4], strict=True)
        ]
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}`"))
        assert " | ".join(cells) in row.replace("-", "−")
