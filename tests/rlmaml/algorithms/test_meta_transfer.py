"""Meta-transfer learning: a trunk that stays, its scales and shifts, and a head that adapts."""

import pytest
import torch

from rlmaml import models
from rlmaml.algorithms.meta_transfer import MetaTransfer
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import adapt
from rlmaml.objective import over_tasks
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.types import MetaBatch
from tests.helpers import parts
from tests.helpers.problems import one

TRUNK = ("mean.0.weight", "mean.0.bias", "mean.2.weight", "mean.2.bias")


DECAY = Optimizer("AdamW", kwargs={"weight_decay": 0.1})


def test_it_begins_as_the_pretrained_network():
    method, meta, batch = parts.regression(MetaTransfer)
    x = batch.query.inputs[0]
    assert {name: len(value) for name, value in meta["scale"].items()} == {
        "mean.0.weight": 6,
        "mean.2.weight": 5,
    }
    assert set(meta["shift"]) == {"mean.0.bias", "mean.2.bias"}
    start = method.start(meta)
    assert list(start) == list(meta["params"])
    assert all(torch.equal(start[name], meta["params"][name]) for name in start)
    module = models.RegressionMLP(3, 2, models.PolicyConfig((6, 5), "tanh")).double()
    module.load_state_dict(meta["params"])
    assert torch.equal(method.policy(start, x).mean, module(x).mean)


def test_a_scale_is_of_a_unit_and_a_shift_beside_its_bias():
    method, meta, _ = parts.regression(MetaTransfer)
    meta = parts.shaken(meta)
    x = torch.randn(9, 3).double()
    found = x
    for layer in ("mean.0", "mean.2"):
        scale, shift = meta["scale"][f"{layer}.weight"], meta["shift"][f"{layer}.bias"]
        weight, bias = meta["params"][f"{layer}.weight"], meta["params"][f"{layer}.bias"]
        found = torch.tanh((found @ weight.T) * scale + bias + shift)
    found = found @ meta["params"]["mean.4.weight"].T + meta["params"]["mean.4.bias"]
    start = method.start(meta)
    torch.testing.assert_close(method.policy(start, x).mean, found)
    assert method.network(start) is start


def test_filters_of_images_have_a_scale_each():
    shape = {"blocks.0.convolution.weight": torch.rand(4, 2, 3, 3), "logits.weight": torch.rand(2)}
    method = MetaTransfer(None)
    meta = method.init_meta(shape)
    meta["scale"]["blocks.0.convolution.weight"] = torch.tensor([1.0, 2.0, 3.0, 0.0])
    found = method.start(meta)["blocks.0.convolution.weight"]
    for i, factor in enumerate((1, 2, 3, 0)):
        assert torch.equal(found[i], factor * shape["blocks.0.convolution.weight"][i])


@pytest.mark.parametrize("steps", [1, 3])
def test_against_the_closed_form(steps):
    """The trunk w s, b + t and the head are the coordinates of a quadratic."""
    tasks, alpha = parts.split_quadratics(), 0.3
    method = MetaTransfer(
        None,
        InnerConfig(steps, step_size=alpha),
        Optimizer(),
        MetaTransfer.Settings(adapts=("head",)),
        inner_loss=parts.split_loss,
        outer_loss=parts.split_loss,
    )
    w, b, s, t = torch.randn(4, 1, dtype=torch.float64)
    head = torch.randn(3, dtype=torch.float64)
    meta = method.init_meta({"body.weight": w, "body.bias": b, "head.end": head})
    assert meta["scale"] == {"body.weight": torch.ones(1)}
    meta = meta | {"scale": {"body.weight": s}, "shift": {"body.bias": t}}
    path = over_tasks(lambda data: adapt(method.inner, meta, (data,) * steps))(tasks)
    ends, pulled = parts.descended(tasks, torch.cat([w * s, b + t, head]), alpha, steps)
    torch.testing.assert_close(torch.cat(list(path[-1].values()), 1), ends)
    found = parts.gradient(method, meta, MetaBatch((tasks,) * steps, tasks))
    torch.testing.assert_close(found["scale"]["body.weight"], pulled[:1] * w)
    torch.testing.assert_close(found["shift"]["body.bias"], pulled[1:2])
    torch.testing.assert_close(found["params"]["head.end"], pulled[2:])
    assert not found["params"]["body.weight"].any()
    assert not found["params"]["body.bias"].any()


def test_meta_gradient_by_finite_differences():
    method, meta, batch = parts.regression(MetaTransfer)
    frozen = [("params", name) for name in TRUNK]
    parts.assert_finite_differences(method, parts.shaken(meta), batch, frozen)


def test_only_the_head_adapts():
    method, meta, batch = parts.regression(MetaTransfer)
    path = adapt(method.inner, meta, one(batch, 0).support)
    moved = {name for name, value in path[2].items() if value is not path[0][name]}
    assert moved == {"mean.4.weight", "mean.4.bias"}


@pytest.mark.parametrize(
    "outer", [DECAY, Optimizer("SGD", kwargs={"momentum": 0.9, "weight_decay": 0.1})]
)
def test_the_trunk_stays_to_the_bit(outer):
    method, meta, batch = parts.regression(MetaTransfer, outer=outer)
    state = method.initial_state(meta)
    for _ in range(3):
        state, _ = method.update(state, batch)
    for group, part in state.meta.items():
        for name, value in part.items():
            stays = group == "params" and name in TRUNK
            assert torch.equal(value, meta[group][name]) == stays, (group, name)


def test_episodes_and_a_trust_region():
    _, meta, state, metrics = parts.by_episodes(MetaTransfer, TrustRegion())
    assert metrics["outcome"] == "accepted"
    new, old = state.meta, meta
    assert torch.equal(new["params"]["mean.0.weight"], old["params"]["mean.0.weight"])
    for group, name in (
        ("scale", "mean.0.weight"),
        ("shift", "mean.0.bias"),
        ("params", "log_std"),
        ("params", "mean.2.weight"),
    ):
        assert not torch.equal(new[group][name], old[group][name])


def test_refusals():
    with pytest.raises(ValueError, match=r"no trunk.*hidden layers"):
        parts.regression(MetaTransfer, hidden=())
    with pytest.raises(ValueError, match="no parameter 'x'"):
        parts.regression(MetaTransfer, MetaTransfer.Settings(adapts=("x",)))


def test_resumes():
    parts.assert_resumes(*parts.regression(MetaTransfer, outer=DECAY))
