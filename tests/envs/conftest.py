from __future__ import annotations

import pytest

import envs  # noqa: F401  registers the environments

ROBOTS = (
    "rlmaml/HalfCheetahVel-v0",
    "rlmaml/HalfCheetahDir-v0",
    "rlmaml/AntVel-v0",
    "rlmaml/AntDir-v0",
)
IDS = (*ROBOTS, "rlmaml/Navigation2D-v0")


@pytest.fixture(params=IDS)
def env_id(request: pytest.FixtureRequest) -> str:
    """Every id that the package registers."""
    return request.param


@pytest.fixture(params=ROBOTS)
def robot_id(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def env_ids() -> tuple[str, ...]:
    return IDS
