"""What the tests of Bayesian MAML share: the method on problems with known answers."""

import math

import numpy as np
import torch

from rlmaml import losses, models, tree
from rlmaml.algorithms.bayesian_maml import BayesianMAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.objective import over_tasks
from rlmaml.outer.optimizer import Optimizer
from rlmaml.types import Examples, MetaBatch
from tests.helpers.problems import quadratic_loss, random_episodes

ALPHA = 0.3
SGD = Optimizer("SGD", 0.1)
SHAPE = models.PolicyConfig(hidden=(6,), activation="tanh")


def shared(loss):
    """A loss of one particle where the method hands over a stack of one."""
    return lambda policy: lambda params, data: loss(tree.map(lambda leaf: leaf[0], params), data)


def on_quadratics(settings, steps=1):
    """The method on quadratic losses; what is predicted does not matter."""
    return BayesianMAML(
        lambda params, inputs: params["x"],
        InnerConfig(steps=steps, step_size=ALPHA),
        settings=BayesianMAML.Settings(**settings),
        inner_loss=shared(quadratic_loss),
        outer_loss=shared(quadratic_loss),
    )


def scattered(count=4, size=5, scale=1.0):
    return {"x": scale * torch.randn(count, size, dtype=torch.float64)}


def learning(kind="regression", *, settings=None, steps=2, method=BayesianMAML, outer=SGD):
    """A method and a batch of random examples of 3 inputs, in float64."""
    make = models.RegressionMLP if kind == "regression" else models.CategoricalMLP
    module = make(3, 2, SHAPE).double()
    loss = losses.mse if kind == "regression" else losses.cross_entropy

    def examples(count):
        x = torch.randn(4, count, 3, dtype=torch.float64)
        if kind == "regression":
            return Examples(x, torch.randn(4, count, 2, dtype=torch.float64))
        return Examples(x, torch.randint(2, (4, count)))

    settings = None if settings is None else method.Settings(**settings)
    inner = InnerConfig(steps=steps, step_size=ALPHA)
    made = method(
        models.functional(module), inner, outer, settings, inner_loss=loss, outer_loss=loss
    )
    batch = MetaBatch((examples(5),) * steps, examples(7))
    return made, models.parameters(module), batch


def acting(count, *, episodes=6, steps=1, kind=models.GaussianMLP, inner=None, **settings):
    """A method, parameters that differ between particles, and a batch of random episodes."""
    module = kind(3, 2, SHAPE).double()
    method = BayesianMAML(
        models.functional(module),
        inner or InnerConfig(steps=steps, step_size=ALPHA),
        settings=BayesianMAML.Settings(particles=count, **settings),
    )
    meta = method.init_meta(models.parameters(module))
    size = {"tasks": 3, "episodes": episodes, "horizon": 4, "observation_size": 3}
    stacked, params, support = over_tasks(method.policy), tree.repeat(meta["params"], 3), []
    for k in range(steps):
        support.append(random_episodes(stacked, params, seed=k, **size))
        params = over_tasks(lambda p, d, k=k: method.inner.step(meta, p, d, k))(params, support[-1])
    batch = MetaBatch(tuple(support), random_episodes(stacked, params, seed=99, **size))
    return method, meta, batch


def rbf(a, b, bandwidth):
    return (-(a - b).square().sum() / bandwidth).exp()


def median_bandwidth(x):
    pairs = [(x[i] - x[j]).square().sum().item() for i in range(len(x)) for j in range(i)]
    return float(np.median(pairs)) / math.log(len(x))
