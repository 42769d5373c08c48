"""Algorithms learn sinusoids as a run trains them."""

import pytest

from tests.helpers.learning import learned_sinusoids

pytestmark = pytest.mark.slow


def test_anil_learns():
    before, after = learned_sinusoids("anil", 150)
    assert after < 0.7 * before


def test_cavia_learns():
    before, after = learned_sinusoids("cavia", 200)
    assert after < 0.6 * before


def test_meta_transfer_learns():
    """Over a trunk that was drawn at random, even."""
    before, after = learned_sinusoids("meta-transfer", 300)
    assert after < 0.75 * before


def test_pretraining_learns():
    before, after = learned_sinusoids("pretraining")
    assert before < 4.5  # the mean square of the tasks; untrained networks are at about 5
    assert after < before
