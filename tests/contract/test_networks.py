"""Networks that people bring: what trains, and what is refused with which words."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from rlmaml import algorithms, losses, models, tree
from rlmaml.advantages import AdvantageConfig
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.distributions import Categorical, Gaussian
from rlmaml.errors import ConfigError
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.sampling.collect import collect
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.vector_env import vectorize
from tests.helpers import networks as n
from tests.helpers.networks import Hidden, Of, OfExamples, Returning, Sequence
from tests.helpers.problems import TargetEnv

TRAINED = {
    "plain": n.two_layers,
    "dropout of 0": lambda: n.two_layers(nn.Dropout(0.0)),
    "dropout switched off": lambda: n.two_layers(nn.Dropout(0.5)).eval(),
    "GRU": lambda: n.recurrent(nn.GRU),
    "LSTM": lambda: n.recurrent(nn.LSTM),
    "RNN": lambda: n.recurrent(nn.RNN),
    "two ways": lambda: n.recurrent(nn.GRU, 16, num_layers=2, bidirectional=True),
    "GRU cell": lambda: Of(n.Cell(nn.GRUCell(1, 8)), nn.Linear(8, 1)),
    "LSTM cell": lambda: Of(n.Cell(nn.LSTMCell(1, 8)), nn.Linear(8, 1)),
    "transformer": lambda: n.attending(dropout=0.0),
    "transformer in eval": lambda: n.attending().eval(),
    "attention layer": lambda: n.two_layers(Sequence(nn.MultiheadAttention(8, 2))),
    "attention": lambda: Hidden(n.attention),
    "layer norm": lambda: n.two_layers(nn.LayerNorm(8)),
    "weight norm": lambda: Of(nn.utils.parametrizations.weight_norm(nn.Linear(1, 1))),
    "in place on its own": lambda: Hidden(lambda x: x.clone().mul_(0.5)),
    "a table": lambda: n.OfRows(False),
    "tied weights": n.tied,
    "a vector of log std": lambda: Returning(lambda y: Gaussian(y, torch.zeros(1))),
    "a number of log std": lambda: Returning(lambda y: Gaussian(y, 0.0)),
    "a part frozen": lambda: n.partly_frozen("body.0"),
    "a frozen GRU": lambda: n.frozen_at(0, n.recurrent(nn.GRU)),
    "a frozen LSTM": lambda: n.frozen_at(0, n.recurrent(nn.LSTM)),
}
REFUSED = {
    "a tensor": (lambda: nn.Linear(1, 1), r"returns a tensor of shape \(4, 1\).*Gaussian\(mean"),
    "a tuple": (lambda: Returning(lambda y: (y, y)), "returns a tuple. Return rlmaml"),
    "nothing": (lambda: Returning(lambda y: None), "returns None"),
    "a dict": (lambda: Returning(lambda y: {"mean": y}), "returns a dict"),
    "torch's Normal": (
        lambda: Returning(lambda y: torch.distributions.Normal(y, 1.0)),
        r"Normal. .*Gaussian\(d.loc, d.scale.log\(\)\)",
    ),
    "no last dimension": (lambda: Returning(lambda y: n.around(y[..., 0])), r"\[4, A\]"),
    "rows averaged": (lambda: Returning(lambda y: n.around(y.mean(0))), "a row for each input"),
    "wrong log std": (
        lambda: Returning(lambda y: Gaussian(y, torch.zeros(7))),
        r"log_std \(7,\): they must agree",
    ),
    "integer mean": (lambda: Returning(lambda y: n.around(y.long())), "a tensor of floats"),
    "float64": (lambda: n.two_layers().double(), r"float64 parameters.*module.float\(\), or give"),
    "bfloat16": (lambda: n.two_layers().bfloat16(), r"bfloat16 parameters and is given float32"),
    "mixed types": (n.mixed, r"float32 and float64 parameters.*module.float\(\)\."),
    "dropout": (lambda: n.two_layers(nn.Dropout(0.5)), r"Dropout body.1\).*module.eval\(\), set p"),
    "dropout function": (lambda: Hidden(nn.functional.dropout), "draws random numbers"),
    "recurrent dropout": (
        lambda: n.recurrent(nn.GRU, num_layers=2, dropout=0.5),
        r"dropout at work \(GRU body.0.layer\)",
    ),
    "transformer's dropout": (n.attending, "dropout at work"),
    "random numbers": (lambda: Hidden(lambda x: x * torch.rand(8)), "draws random numbers"),
    "numpy's": (n.by_numpy, "something else when it is called again"),
    "kept state": (n.accumulating, "something else when it is called again"),
    "item": (lambda: Hidden(lambda x: x * x.max().item()), r"\.item\(\).*write it with tensors"),
    "float": (lambda: Hidden(lambda x: x * float(x.sum())), "reads numbers out of tensors"),
    "tolist": (lambda: Hidden(lambda x: x * sum(x.sum(0).tolist())), "reads numbers out"),
    "numpy": (lambda: Hidden(lambda x: x * torch.tensor(x.detach().numpy())), "reads numbers out"),
    "if": (lambda: Hidden(lambda x: x if x.sum() > 0 else -x), "an `if`, `while` or"),
    "selection": (lambda: Hidden(lambda x: x * x[x > 0].sum()), "torch.where or a mask"),
    "in place": (lambda: Hidden(n.into_zeros), "writes in place"),
    "checkpointing": (lambda: Hidden(n.saving_hooks), "activation checkpointing"),
    "reentrant": (lambda: Hidden(n.reentrant), "activation checkpointing"),
    "own function": (lambda: Hidden(n.Double.apply), "setup_context apart"),
    "own without vmap": (lambda: Hidden(n.DoubleApart.apply), "generate_vmap_rule = True"),
    "two arguments": (lambda: n.OfTwo(n.around), r"forward\(inputs\).*'mask'"),
    "a keyword": (lambda: n.ByKeyword(n.around), "inputs alone"),
    "no derivative": (lambda: Returning(lambda y: n.around(y.detach())), "nothing to learn"),
    "no use of it": (lambda: Returning(lambda y: n.around(0.5 + torch.zeros(4, 1))), "nothing to"),
    "wrong size": (lambda: Of(nn.Linear(2, 1)), r"inputs of shape \(4, 1\).*multiplied"),
    "sparse rows": (lambda: n.OfRows(True), "sparse=False"),
    "classes for numbers": (
        lambda: Returning(Categorical),
        r"returns a Categorical, .* losses.cross_entropy",
    ),
    "batch norm": (lambda: n.two_layers(nn.BatchNorm1d(8)), "buffers"),
    "in place to inputs": (lambda: n.ClampingInputs(n.around), "writes in place to its inputs"),
    "all frozen": (lambda: n.two_layers().requires_grad_(False), r"requires_grad_\(True\)"),
    "no parameters": (lambda: Of(nn.Tanh()), "no parameter to learn"),
}


@pytest.mark.parametrize("make", TRAINED.values(), ids=TRAINED)
def test_a_network_trains_alike_with_all_tasks_at_once_and_one_by_one(make):
    torch.manual_seed(0)
    module, drawn = make(), torch.get_rng_state()
    before = models.parameters(module)
    together, one = (OfExamples(module, chunk_size=size).update()[0] for size in (None, 1))
    for name, value in together.items():
        torch.testing.assert_close(value, one[name], rtol=1e-3, atol=1e-4)
    assert any((value != before[name]).any() for name, value in together.items())
    assert torch.equal(drawn, torch.get_rng_state())


@pytest.mark.parametrize("chunk_size", [None, 1])
@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_a_network_is_refused_in_a_line(make, words, chunk_size):
    with pytest.raises(ConfigError, match=words) as refusal:
        OfExamples(make(), chunk_size=chunk_size).update()
    assert "\n" not in str(refusal.value)


NORMS = {
    "layer": lambda: nn.LayerNorm(8),
    "layer without shift": lambda: nn.LayerNorm(8, bias=False),
    "layer without scale": lambda: nn.LayerNorm(8, elementwise_affine=False),
    "batch": lambda: nn.BatchNorm1d(8, track_running_stats=False),
    "batch in eval": lambda: nn.BatchNorm1d(8, track_running_stats=False).eval(),
    "instance": lambda: n.Rows(nn.InstanceNorm1d(2, affine=True), 2, 4),
    "group": lambda: n.Rows(nn.GroupNorm(2, 8), 8),
    "root mean square": lambda: nn.RMSNorm(8),
    "in a transformer": lambda: Sequence(
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    ),
}


@pytest.mark.parametrize("make", NORMS.values(), ids=NORMS)
def test_second_derivatives_of_norms_are_right_with_all_tasks_at_once(make):
    torch.manual_seed(0)
    module = Of(nn.Linear(1, 8), nn.Tanh(), make(), nn.Tanh(), nn.Linear(8, 1)).double()
    for value in module.parameters():
        value.data += 0.1 * torch.randn_like(value)
    found = [
        OfExamples(module, chunk_size=size, dtype=torch.float64).gradient() for size in (None, 1)
    ]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_a_trust_region_goes_through_layers_with_fused_kernels():
    for make in ("GRU", "transformer in eval", "attention"):
        torch.manual_seed(0)
        _, metrics = OfExamples(TRAINED[make](), outer=TrustRegion()).update()
        assert metrics["outcome"] == "accepted"


def test_an_operation_with_first_derivatives_alone_is_for_first_order_algorithms():
    def distances(x):
        return 1e-3 * torch.cdist(x, x + 1)[..., :1] + x

    for chunk_size in (None, 1):
        with pytest.raises(ConfigError, match=r"without a second derivative.*\(fo-maml, reptile"):
            OfExamples(Hidden(distances), chunk_size=chunk_size).update()
    for name in ("fo-maml", "reptile"):
        OfExamples(Hidden(distances), kind=algorithms.get_algorithm(name)).update()


def test_float64_data_go_with_a_float64_network():
    params, _ = OfExamples(n.two_layers().double(), dtype=torch.float64).update()
    assert {value.dtype for value in params.values()} == {torch.float64}


def test_a_loss_of_ones_own_may_take_what_the_network_returns():
    module, data = nn.Linear(1, 1), torch.ones(4, 1)
    policy = models.functional(module)
    found = tree.grad(lambda params: policy(params, data).sum())(models.parameters(module))
    assert found["weight"].item() == 4


# Of episodes: as soon as the sampler knows what is observed.


def played(module, method=None, hidden=None):
    env = vectorize(TargetEnv, 12)
    policy = models.functional(module) if method is None else method.policy
    how = {"episodes": 4, "horizon": 2, "advantages": AdvantageConfig(normalize=False)}
    return RolloutSampler(env, policy, **how)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Linear(1, 1), r"Linear returns a tensor of shape \(4, 1\)"),
        (lambda: n.two_layers().double(), "float64 parameters"),
        (lambda: n.two_layers(nn.Dropout(0.5)), "dropout at work"),
        (lambda: Of(nn.Linear(3, 1)), r"fails on inputs of shape \(4, 1\)"),
        (lambda: Returning(lambda y: n.around(y[..., 0])), r"one dimension, \[4, A\]"),
        (lambda: Returning(lambda y: n.around(y - y.mean(0))), "mixes its rows"),
        (lambda: Of(n.Cell(nn.GRU(1, 1, batch_first=True))), "mixes its rows"),
        (lambda: Of(nn.BatchNorm1d(1, track_running_stats=False)), "mixes its rows"),
    ],
)
def test_a_sampler_refuses_a_policy_before_it_plays(make, words):
    with pytest.raises(ConfigError, match=words):
        played(make())


@pytest.mark.parametrize(
    "make",
    [
        lambda: n.recurrent(nn.LSTM),
        lambda: n.attending().eval(),
        lambda: Returning(lambda y: Gaussian(y, torch.zeros(1))),
        lambda: n.partly_frozen("body.2"),
        lambda: Returning(lambda y: n.around(y.reshape(-1, 1))),
    ],
)
def test_a_policy_plays_and_trains(make):
    torch.manual_seed(0)
    module = make()
    method = MAML(models.functional(module), InnerConfig(step_size=0.01), TrustRegion())
    state = method.init(models.parameters(module))
    tasks = np.linspace(-1, 1, 3)[:, None]
    batch = collect(
        played(module, method), method.inner, state.meta, tasks, steps=1, key=(0, 0, 1000)
    )
    after, metrics = method.update(state, batch)
    assert metrics["outcome"] in ("accepted", "no acceptable step")
    assert set(after.meta["params"]) == set(models.parameters(module))


# Frozen parameters are constants.

OF_EXAMPLES = [name for name in algorithms.TABLE if name not in ("e-maml", "promp")]


@pytest.mark.parametrize("name", OF_EXAMPLES)
@pytest.mark.parametrize("frozen", ["mean.0", "mean.2.bias"])
def test_every_algorithm_leaves_frozen_parameters_alone(name, frozen):
    torch.manual_seed(0)
    module = models.RegressionMLP(1, 1, models.PolicyConfig(hidden=(5, 4), activation="tanh"))
    for key, value in module.named_parameters():
        value.requires_grad_(not key.startswith(frozen))
    before = copy.deepcopy(module.state_dict())
    problem = OfExamples(module, kind=algorithms.get_algorithm(name))
    params, metrics = problem.update()
    assert metrics["outcome"] == "accepted"
    assert params
    assert not any(key.startswith(frozen) for part in problem.state.meta.values() for key in part)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_frozen_parameters_are_what_constants_are():
    torch.manual_seed(0)
    frozen = n.partly_frozen("body.0")
    weight, bias = (value.detach().clone() for value in frozen.body[0].parameters())

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = copy.deepcopy(frozen.body[2])

        def forward(self, x):
            return n.around(self.head(torch.tanh(x @ weight.T + bias)))

    found, _ = OfExamples(frozen).update()
    expected, _ = OfExamples(Constant()).update()
    assert list(found) == ["body.2.weight", "body.2.bias"]
    for one, other in zip(found.values(), expected.values(), strict=True):
        torch.testing.assert_close(one, other)


def test_constants_follow_the_parameters_to_their_device():
    module = n.partly_frozen("body.0")
    there = tree.to(models.parameters(module), "meta")
    policy = models.functional(module)
    assert policy(there, torch.ones(2, 1, device="meta")).mean.is_meta
    assert policy(models.parameters(module), torch.ones(2, 1)).mean.device.type == "cpu"
    empty = n.partly_frozen("body.0").to("meta")
    with pytest.raises(ConfigError, match=r"frozen parameter body.0.weight .* has no values"):
        models.functional(empty)(models.parameters(module), torch.ones(2, 1))


def test_constants_that_change_are_seen_where_they_were_moved_to(monkeypatch):
    module = n.partly_frozen("body.0")
    policy = models.functional(module)
    policy(there := tree.to(models.parameters(module), "meta"), torch.ones(2, 1, device="meta"))
    first = policy._constants(there)["body.0.weight"]
    assert policy._constants(there)["body.0.weight"] is first
    with torch.no_grad():
        module.body[0].weight += 1
    assert policy._constants(there)["body.0.weight"] is not first


def test_losses_of_a_plain_function_say_what_it_must_return():
    problem = OfExamples(n.two_layers())
    loss = losses.mse(lambda params, x: x * params["w"])
    data = tree.map(lambda leaf: leaf[0], problem.batch.query)
    with pytest.raises(ConfigError, match="returns a tensor"):
        loss({"w": torch.ones(1)}, data)
