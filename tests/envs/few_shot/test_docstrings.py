"""Docstrings of installed packages as texts."""

from __future__ import annotations

import functools
import re

import pytest

from envs.few_shot import docstrings as reading
from envs.few_shot.docstrings import docstrings
from envs.few_shot.text import TextError
from tests.helpers.few_shot import SPLITS


@pytest.fixture(autouse=True)
def few_modules(monkeypatch):
    """All of them, here, each read once."""
    monkeypatch.setattr(reading, "_modules", functools.cache(reading._modules))


@pytest.mark.slow
def test_docstrings():
    family = docstrings(packages=())
    assert {"email", "logging", "unittest"} <= set(family.names)
    assert all(len(family.splits[split]) >= 5 for split in SPLITS)
    classes = [k for split in SPLITS for k in family.splits[split]]
    assert sorted(classes) == list(range(len(family.names)))
    family.check_episode(5, 15)
    text = "Parses a message, as email does"
    assert (family.encode([text])[0, 6:] == 0).all()
    again = docstrings(packages=(), split_seed=1)
    assert again.splits != family.splits
    assert again.fingerprint != family.fingerprint
    more = docstrings(packages=["gymnasium"])
    assert set(more.names) > set(family.names)
    assert "gymnasium.wrappers" in more.names


def test_docstrings_that_are_not_there(tmp_path, monkeypatch):
    with pytest.raises(TextError, match="no package 'nonsuch'"):
        docstrings(packages=["nonsuch"])
    with pytest.raises(TextError, match="fewer than way=50"):
        docstrings(packages=(), way=50)
    with pytest.raises(ValueError, match="least is 1"):
        docstrings(least=1)
    monkeypatch.setattr("envs.few_shot.docstrings._modules", lambda package: {})
    with pytest.raises(TextError, match=re.escape("has 0 class(es) to train")):
        docstrings()
