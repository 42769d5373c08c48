"""The table of outer steps, and an outer step of one's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from rlmaml import tree
from rlmaml.algorithms.imaml import IMAML
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.promp import ProMP
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.errors import ConfigError
from rlmaml.objective import meta_gradient
from rlmaml.outer.base import OUTER_STEPS, capabilities, get_outer_step, outer_name
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.types import MetaBatch
from tests.helpers.problems import quadratic_loss, quadratics


@dataclass(frozen=True)
class SignDescent:
    """Every parameter moves by the same length."""

    size: float = 0.1

    capabilities: ClassVar[frozenset[str]] = frozenset({"gradient-only"})

    def init(self, meta):
        return 0

    def update(self, objective, state, batch):
        _, gradient = meta_gradient(objective, state.meta, batch)
        theta, unravel = tree.ravel(state.meta)
        moved = unravel(theta - self.size * gradient.sign())
        return state._replace(meta=moved, outer=state.outer + 1), {"outcome": "accepted"}

    def state_dict(self, state) -> dict[str, Any]:
        return {"steps": state}

    def load_state_dict(self, meta, saved: Mapping[str, Any]):
        return saved["steps"]

    def validate_schedule(self, iterations):
        pass


@dataclass
class Thawed:
    """Not frozen, and without methods."""


QUADRATIC = {
    "inner_loss": lambda policy: quadratic_loss,
    "outer_loss": lambda policy: quadratic_loss,
}


def test_the_table_gives_the_classes_and_back():
    assert [get_outer_step(name) for name in OUTER_STEPS] == [TrustRegion, Optimizer]
    assert [outer_name(kind()) for kind in (TrustRegion, Optimizer)] == list(OUTER_STEPS)
    assert get_outer_step(f"{__name__}:SignDescent") is SignDescent
    assert outer_name(SignDescent()) == f"{__name__}:SignDescent"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adam", "Unknown outer step 'adam': use one of trust-region, optimizer, or MODULE:CLASS"),
        ("nowhere:Step", "Cannot import the outer step 'nowhere:Step'"),
        (f"{__name__}:Nothing", "Cannot import the outer step"),
        (f"{__name__}:QUADRATIC", "is no outer step: it is"),
        (f"{__name__}:Thawed", "lacks init, update, state_dict, load_state_dict, validate_sched"),
        ("rlmaml.algorithms.promp:ProximalStep", "is no frozen dataclass"),
    ],
)
def test_what_is_no_outer_step_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        get_outer_step(name)


def test_one_of_ones_own_updates_saves_and_goes_on():
    tasks = quadratics(4, 5)
    batch = MetaBatch((tasks,), tasks)
    algorithm = MAML(None, InnerConfig(step_size=0.1), SignDescent(0.25), **QUADRATIC)
    state = algorithm.init({"x": torch.ones(5, dtype=torch.float64)})
    _, gradient = meta_gradient(algorithm.objective(state), state.meta, batch)
    new, metrics = algorithm.update(state, batch)
    assert metrics["outcome"] == "accepted"
    torch.testing.assert_close(new.meta["params"]["x"], 1 - 0.25 * gradient.sign())
    saved = algorithm.state_dict(new)
    assert saved == {"iteration": 1, "steps": 1}
    again = algorithm.load_state_dict(new.meta, saved)
    (a, _), (b, _) = (algorithm.update(each, batch) for each in (new, again))
    assert torch.equal(a.meta["params"]["x"], b.meta["params"]["x"])
    assert a[1:] == b[1:] == (2, 2)


def test_algorithms_ask_for_capabilities_and_not_for_classes():
    assert capabilities(TrustRegion()) == frozenset()
    assert capabilities(object()) == frozenset()
    assert capabilities(Optimizer()) == {"gradient-only", "optimizer"}
    inner = InnerConfig(step_size=0.1)
    assert IMAML(None, inner, SignDescent()).outer == SignDescent()  # follows the gradient alone
    for kind, outer in ((IMAML, TrustRegion()), (ProMP, TrustRegion()), (ProMP, SignDescent())):
        expected = f"{kind.__name__} does not go with outer {outer_name(outer)}: .* Take outer opt"
        with pytest.raises(ConfigError, match=expected):
            kind(None, inner, outer)
