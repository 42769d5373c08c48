"""What algorithms require of their outer step, and how it is refused."""

import dataclasses
from typing import get_args

import pytest

from rlmaml import algorithms
from rlmaml.algorithms.requirements import Requirement, require_outer
from rlmaml.errors import ConfigError
from rlmaml.outer.base import OUTER_CAPABILITIES
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion


@dataclasses.dataclass(frozen=True)
class Plain:
    """A user's outer step that says nothing of what it can."""


@dataclasses.dataclass(frozen=True)
class Following(Plain):
    """One that follows the meta-gradient alone."""

    capabilities = frozenset({"gradient-only"})


@pytest.mark.parametrize("capability", OUTER_CAPABILITIES)
def test_an_optimizer_meets_every_requirement_and_a_trust_region_none(capability):
    require_outer(Optimizer(), capability, "Own", "it does.")
    for outer in (TrustRegion(), Plain()):
        with pytest.raises(ConfigError):
            require_outer(outer, capability, "Own", "it does.")


def test_a_step_of_ones_own_meets_what_it_says_and_no_more():
    require_outer(Following(), "gradient-only", "Own", "it does.")
    with pytest.raises(ConfigError, match=rf"Own does not go with outer {__name__}:Following"):
        require_outer(Following(), "optimizer", "Own", "it does.")


def test_a_refusal_names_both_sides_the_reason_and_what_to_take():
    with pytest.raises(ConfigError) as refusal:
        require_outer(TrustRegion(), "optimizer", "Own", "it needs a rate.")
    assert str(refusal.value) == (
        "Own does not go with outer trust-region: it needs a rate. Take outer optimizer (in "
        "Python, outer=Optimizer())."
    )
    with pytest.raises(ConfigError, match=r"outer=Optimizer\(\)\) or another loss\.$"):
        require_outer(TrustRegion(), "optimizer", "Own", "it needs a rate.", "another loss")


@pytest.mark.parametrize("name", algorithms.TABLE)
def test_what_an_algorithm_requires_is_known_and_has_a_reason(name):
    """A requirement that is misspelled would be met by everything."""
    requires = algorithms.get_algorithm(name).requires
    assert set(requires) <= set(get_args(Requirement))
    for reason in requires.values():
        assert reason.endswith(".")
        assert reason[0].islower()  # it follows a colon


def test_every_capability_of_an_outer_step_can_be_required():
    assert set(OUTER_CAPABILITIES) <= set(get_args(Requirement))
