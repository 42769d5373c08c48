from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from PIL import Image

from envs.registry import ENVIRONMENTS

ROBOTS = tuple(row.id for row in ENVIRONMENTS if row.single == "locomotion.env:LocomotionEnv")
DISCRETE = tuple(row.id for row in ENVIRONMENTS if row.single == "tabular:TabularEnv")
EXAMPLES = tuple(row.id for row in ENVIRONMENTS if row.batched is None)
BATCHED = tuple(row.id for row in ENVIRONMENTS if row.batched is not None)
CONTINUOUS = tuple(env_id for env_id in BATCHED if env_id not in DISCRETE)


@pytest.fixture(params=BATCHED)
def env_id(request: pytest.FixtureRequest) -> str:
    """Every id that has a batched environment."""
    return request.param


@pytest.fixture(params=ROBOTS)
def robot_id(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=CONTINUOUS)
def continuous_id(request: pytest.FixtureRequest) -> str:
    """Those whose actions are vectors."""
    return request.param


@pytest.fixture(params=DISCRETE)
def discrete_id(request: pytest.FixtureRequest) -> str:
    """Those whose observations and actions are integers."""
    return request.param


@pytest.fixture(params=(*BATCHED, *EXAMPLES))
def make(
    request: pytest.FixtureRequest, image_root: Path, text_root: Path
) -> Callable[..., gymnasium.Env]:
    """`gymnasium.make` of every registered id, which takes more parameters."""
    return _made(request.param, image_root, text_root)


@pytest.fixture(params=EXAMPLES)
def make_examples(
    request: pytest.FixtureRequest, image_root: Path, text_root: Path
) -> Callable[..., gymnasium.Env]:
    """The same of those with labeled examples."""
    return _made(request.param, image_root, text_root)


def _made(env_id: str, image_root: Path, text_root: Path) -> Callable[..., gymnasium.Env]:
    parameters: dict[str, object] = {
        "rlmaml/ImageFolder-v0": {"root": str(image_root), "way": 2},
        "rlmaml/Docstrings-v0": {"packages": ()},
        "rlmaml/Text-v0": {"root": str(text_root), "way": 2},
    }.get(env_id, {})
    return partial(gymnasium.make, env_id, **parameters)


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 folders of 3 noisy images."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in "abcdefghijkl":
        (root / name).mkdir()
        for i in range(3):
            pixels = rng.integers(256, size=(9, 9), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def text_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 12 classes of 4 texts."""
    root = tmp_path_factory.mktemp("texts") / "texts.csv"
    rows = [f"{name},{name} text number {i}" for name in "abcdefghijkl" for i in range(4)]
    root.write_text("label,text\n" + "\n".join(rows))
    return root
