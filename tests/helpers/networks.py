"""Networks of one's own, good and bad, for one number in and one out."""

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from rlmaml import losses, models
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.distributions import Gaussian
from rlmaml.objective import meta_gradient
from rlmaml.outer.optimizer import Optimizer
from rlmaml.sampling.collect import collect
from rlmaml.sampling.examples import ExampleSampler
from tests.helpers.problems import Waves


def around(mean):
    return Gaussian(mean, torch.zeros_like(mean))


class Of(nn.Module):
    """A Gaussian around what layers make of an input."""

    def __init__(self, *layers):
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return around(self.body(x))


class Hidden(nn.Module):
    """A perceptron whose hidden units go through a function."""

    def __init__(self, function):
        super().__init__()
        self.inner, self.outer, self.function = nn.Linear(1, 8), nn.Linear(8, 1), function

    def forward(self, x):
        return around(self.outer(self.function(self.inner(x))))


class Returning(nn.Module):
    """A linear layer, and what a function makes of its output."""

    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.Linear(1, 1), function

    def forward(self, x):
        return self.function(self.layer(x))


class Sequence(nn.Module):
    """A layer for sequences, on sequences of one."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        x = x.unsqueeze(-2)
        attends = isinstance(self.layer, nn.MultiheadAttention)
        y = self.layer(*(x,) * (3 if attends else 1))
        return (y[0] if isinstance(y, tuple) else y)[..., -1, :]


class Rows(nn.Module):
    """A layer for rows of a shape."""

    def __init__(self, layer, *shape):
        super().__init__()
        self.layer, self.shape = layer, shape

    def forward(self, x):
        return self.layer(x.reshape(-1, *self.shape)).reshape(x.shape)


class Cell(nn.Module):
    """A recurrent cell that begins anew with every input."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        y = self.layer(x)
        return y[0] if isinstance(y, tuple) else y


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


class DoubleApart(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return 2 * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


class OfTwo(Returning):
    def forward(self, x, mask):
        return around(self.layer(x) * mask)


class ClampingInputs(Returning):
    def forward(self, x):
        x.clamp_(-1, 1)
        return super().forward(x)


class ByKeyword(Returning):
    def forward(self, *, x):
        return around(self.layer(x))


class OfRows(nn.Module):
    """A table, of which the first row is taken."""

    def __init__(self, sparse):
        super().__init__()
        self.table = nn.Embedding(4, 1, sparse=sparse)

    def forward(self, x):
        return around(self.table(0 * x[..., 0].long()))


def two_layers(middle=None, width=8):
    return Of(nn.Linear(1, 8), middle or nn.Tanh(), nn.Linear(width, 1))


def mixed():
    module = two_layers()
    module.body[2].double()
    return module


def attending(**how):
    return two_layers(Sequence(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **how)))


def recurrent(kind, width=8, **how):
    return Of(Sequence(kind(1, 8, batch_first=True, **how)), nn.Linear(width, 1))


def partly_frozen(*names):
    module = two_layers()
    for name, value in module.named_parameters():
        value.requires_grad_(not name.startswith(names))
    return module


def frozen_at(index, module):
    module.body[index].requires_grad_(False)
    return module


def tied():
    module = Of(*(nn.Linear(1, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1)))
    module.body[2].weight = module.body[1].weight
    return module


def into_zeros(x):
    row = torch.zeros(x.shape)
    row[...] = x
    return row


def accumulating():
    kept = torch.zeros(8)
    return Hidden(lambda x: x + kept.add_(x.detach().sum(tuple(range(x.ndim - 1)))))


def attention(x):
    rows = x[..., None, :]
    return nn.functional.scaled_dot_product_attention(rows, rows, rows)[..., 0, :]


def reentrant(x):
    return checkpoint(torch.tanh, x, use_reentrant=True)


def saving_hooks(x):
    return checkpoint(torch.tanh, x, use_reentrant=False)


def by_numpy():
    rng = np.random.default_rng(0)
    return Hidden(lambda x: x * rng.uniform())


class OfExamples:
    """MAML of a module on sinusoids: 3 tasks of 4 + 4 examples."""

    def __init__(self, module, *, kind=MAML, chunk_size=None, outer=None, dtype=torch.float32):
        self.method = kind(
            models.functional(module),
            InnerConfig(steps=2, step_size=0.01),
            outer or Optimizer("SGD", learning_rate=0.01),
            inner_loss=losses.mse,
            outer_loss=losses.mse,
            chunk_size=chunk_size,
        )
        plan, family = self.method.data_spec, Waves()
        fresh = plan.steps if plan.fresh_support else 0
        sampler = ExampleSampler(family, shots=4, queries=4, fresh_support=fresh, dtype=dtype)
        self.state = self.method.init(models.parameters(module))
        self.batch = collect(
            sampler,
            self.method.inner,
            self.state.meta,
            family.sample(3, np.random.default_rng(0)),
            steps=plan.steps,
            key=(0, 0, 1000),
            chunk_size=chunk_size,
        )

    def update(self):
        """The parameters after an update, and its metrics."""
        self.state, metrics = self.method.update(self.state, self.batch)
        return self.state.meta["params"], metrics

    def gradient(self):
        """The meta-gradient."""
        objective = self.method.objective(self.state)
        return meta_gradient(objective, self.state.meta, self.batch)[1]
