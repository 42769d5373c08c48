"""CAVIA: a context as further inputs, and what is meta-learned through it."""

import math

import pytest
import torch
from torch import nn

from rlmaml import losses, models, tree
from rlmaml.algorithms.cavia import CAVIA, entry
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import adapt
from rlmaml.models.conv import ConvConfig
from rlmaml.models.mlp import PolicyConfig
from rlmaml.objective import over_tasks
from rlmaml.outer.optimizer import Optimizer
from rlmaml.types import Examples
from tests.helpers import parts
from tests.helpers.problems import one

FOUR = CAVIA.Settings(contexts=4)


FIRST = "mean.0.bias"


def test_parameters_of_similar_names_are_the_networks():
    params = {"contextual.weight": torch.ones(2, 2), "contextual.bias": torch.zeros(2)}
    method = CAVIA(None)
    start = method.start(method.init_meta(params))
    assert set(method.network(start)) == set(params)
    with pytest.raises(ValueError, match="CAVIA's own name: rename it"):
        method.init_meta({**params, "context": torch.zeros(1)})


def literal(meta, c, inputs):
    """The network with c beside x at its first layer, written out: tanh, hidden (6, 5)."""
    params, weights = meta["params"], meta["context"][FIRST]
    x = torch.cat([inputs, c.expand(len(inputs), -1)], 1)
    first = torch.cat([params["mean.0.weight"], weights], 1)
    x = torch.tanh(x @ first.T + params["mean.0.bias"])
    x = torch.tanh(x @ params["mean.2.weight"].T + params["mean.2.bias"])
    return x @ params["mean.4.weight"].T + params["mean.4.bias"]


@pytest.mark.parametrize("steps", [1, 2])
def test_against_a_network_with_more_inputs(steps):
    """Adapted contexts, predictions and the meta-gradient, in a loop with plain autograd."""
    method, meta, batch = parts.regression(CAVIA, FOUR, steps=steps)
    meta = tree.map(lambda leaf: leaf.clone().requires_grad_(), meta)
    total = 0.0
    for i in range(4):
        data, c = one(batch, i), torch.zeros(4, dtype=torch.float64, requires_grad=True)
        for support in data.support:
            error = (literal(meta, c, support.inputs) - support.targets).square().sum(1).mean()
            (slope,) = torch.autograd.grad(error, c, create_graph=True)
            c = c - 0.3 * slope
        predicted = literal(meta, c, data.query.inputs)
        total = total + (predicted - data.query.targets).square().sum(1).mean() / 4
        adapted = adapt(method.inner, meta, data.support)[-1]
        torch.testing.assert_close(adapted["context"], c)
        torch.testing.assert_close(method.policy(adapted, data.query.inputs).mean, predicted)
    expected = torch.autograd.grad(total, tree.leaves(meta))
    found = parts.gradient(method, tree.map(torch.detach, meta), batch)
    assert all(leaf.any() for leaf in tree.leaves(found))
    for ours, theirs in zip(tree.leaves(found), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("steps", [1, 4])
def test_adaptation_of_a_linear_model_against_the_closed_form(steps):
    """L(c) = mean ‖r - V c‖², so c_K = [I - (I - 2αVᵀV)^K] (VᵀV)⁻¹ Vᵀ mean r."""
    method, meta, batch = parts.regression(
        CAVIA, CAVIA.Settings(contexts=2), steps=steps, hidden=()
    )
    v = meta["context"][FIRST]
    gram = v.T @ v
    power = torch.linalg.matrix_power(torch.eye(2, dtype=v.dtype) - 0.6 * gram, steps)
    for i in range(4):
        data = one(batch, i)
        support = data.support[0]
        params = meta["params"]
        residual = support.targets - support.inputs @ params["mean.0.weight"].T - params[FIRST]
        best = torch.linalg.solve(gram, v.T @ residual.mean(0))
        found = adapt(method.inner, meta, data.support)[-1]["context"]
        torch.testing.assert_close(found, best - power @ best)


def test_meta_gradient_by_finite_differences():
    parts.assert_finite_differences(*parts.regression(CAVIA, FOUR))


def test_the_context_alone_adapts_and_begins_at_zero():
    method, meta, batch = parts.regression(CAVIA, FOUR)
    path = adapt(method.inner, meta, one(batch, 0).support)
    assert not path[0]["context"].any()
    assert path[0]["context"].shape == (4,)
    moved = {name for name, value in path[2].items() if value is not path[0][name]}
    assert moved == {"context"}


def test_the_folded_network_acts_like_the_adapted_policy():
    method, meta, batch = parts.regression(CAVIA, FOUR)
    data = one(batch, 0)
    adapted = adapt(method.inner, meta, data.support)[-1]
    network = method.network(adapted)
    assert list(network) == list(meta["params"])
    assert {n for n in network if (network[n] != meta["params"][n]).any()} == {FIRST}
    module = models.RegressionMLP(3, 2, PolicyConfig(hidden=(6, 5), activation="tanh")).double()
    module.load_state_dict(network)
    expected = method.policy(adapted, data.query.inputs).mean
    torch.testing.assert_close(module(data.query.inputs).mean, expected)


def test_images_are_scaled_and_shifted_after_the_norm_of_the_last_block_but_one():
    torch.manual_seed(1)
    module = models.ConvClassifier((1, 8, 8), 3, ConvConfig(3, 4, "stride")).double()
    names = tuple(models.parameters(module))
    assert entry(names) == ("blocks.1.norm.weight", "blocks.1.norm.bias")
    assert entry(sorted(names)) == entry(names)
    assert entry(["blocks.0.norm.weight"]) == ("blocks.0.norm.weight", "blocks.0.norm.bias")
    policy = models.functional(module)
    losses_ = {"inner_loss": losses.cross_entropy, "outer_loss": losses.cross_entropy}
    inner = InnerConfig(2, 0.5)
    method = CAVIA(policy, inner, Optimizer(), CAVIA.Settings(contexts=7), **losses_)
    meta = method.init_meta(models.parameters(module))
    x, y = torch.rand(6, 1, 8, 8).double(), torch.arange(6) % 3
    adapted = adapt(method.inner, meta, (Examples(x, y),) * 2)[-1]
    scale, shift = (weights @ adapted["context"] for weights in meta["context"].values())
    assert scale.abs().min() > 0
    assert shift.abs().min() > 0

    def film(_module, _inputs, output):
        return output * (1 + scale[:, None, None]) + shift[:, None, None]

    expected_before = policy(meta["params"], x).logits
    torch.testing.assert_close(method.policy(method.start(meta), x).logits, expected_before)
    found = method.policy(adapted, x).logits
    hook = module.blocks[1].norm.register_forward_hook(film)
    torch.testing.assert_close(found, policy(meta["params"], x).logits)
    hook.remove()


def test_v_is_drawn_by_the_initial_parameters_alone():
    state = torch.random.get_rng_state()
    method, meta, _ = parts.regression(CAVIA, FOUR)
    state = torch.random.get_rng_state()
    again = method.init_meta(meta["params"])["context"][FIRST]
    assert torch.equal(torch.random.get_rng_state(), state)
    v = meta["context"][FIRST]
    assert torch.equal(v, again)
    assert v.shape == (6, 4)
    assert 0.5 < v.abs().max() / math.sqrt(6 / 10) <= 1
    other = parts.regression(CAVIA, FOUR, seed=1)[1]["context"][FIRST]
    assert not torch.equal(other, v)
    assert (
        method.init_meta(tree.map(torch.Tensor.float, meta["params"]))["context"][FIRST].dtype
        == torch.float32
    )


def test_the_first_bias_that_is_learned_is_shifted():
    module = models.RegressionMLP(3, 2, models.PolicyConfig(hidden=(5, 4)))
    module.mean[0].bias.requires_grad_(False)
    assert list(CAVIA(None).init_meta(models.parameters(module))["context"]) == ["mean.2.bias"]
    for layer in module.mean[::2]:
        layer.bias.requires_grad_(False)
    with pytest.raises(ValueError, match="no bias to learn"):
        CAVIA(None).init_meta(models.parameters(module))


def test_parameters_of_any_name_can_be_shifted():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.top = nn.Linear(3, 5), nn.Linear(5, 2)

    names = models.parameters(Own())
    settings = CAVIA.Settings(shifts=("trunk.bias", "top.weight"))
    method = CAVIA(None, settings=settings)
    meta = method.init_meta(names)
    assert meta["context"]["top.weight"].shape == (2, 5, 5)
    params = {**method.start(meta), "context": torch.arange(5.0)}
    for name in settings.shifts:
        expected = names[name] + (meta["context"][name] * torch.arange(5.0)).sum(-1)
        torch.testing.assert_close(method.network(params)[name], expected)
    with pytest.raises(ValueError, match=r"do not tell"):
        CAVIA(None).init_meta(names)


def test_episodes_and_a_trust_region():
    _, meta, state, metrics = parts.by_episodes(CAVIA)
    assert metrics["outcome"] == "accepted"
    assert metrics["kl"] > 0
    assert (state.meta["context"]["mean.0.bias"] != meta["context"]["mean.0.bias"]).any()


def test_tasks_are_adapted_to_together_as_one_by_one():
    method, meta, batch = parts.regression(CAVIA, FOUR)
    stacked = over_tasks(lambda data: adapt(method.inner, meta, data))(batch.support)
    for i in range(4):
        alone = adapt(method.inner, meta, one(batch.support, i))
        torch.testing.assert_close(one(stacked[-1]["context"], i), alone[-1]["context"])


def test_resumes():
    parts.assert_resumes(*parts.regression(CAVIA, FOUR, outer=Optimizer("Adam")))


def test_refusals():
    with pytest.raises(ValueError, match=r"algorithm_settings.contexts must be at least 1, got 0"):
        CAVIA.Settings(contexts=0)
    with pytest.raises(ValueError, match=r"'mean.9.bias', which is no parameter: use mean.0"):
        parts.regression(CAVIA, CAVIA.Settings(shifts=("mean.9.bias",)))
