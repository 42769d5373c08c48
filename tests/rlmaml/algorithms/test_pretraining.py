"""Pre-training: jointly, on tasks or on classes, and fine-tuned to a task."""

import pytest
import torch

from rlmaml import losses, models, tree
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.pretraining import Pretraining
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import adapt
from rlmaml.outer.optimizer import Optimizer
from rlmaml.types import Examples
from tests.helpers import parts
from tests.helpers.problems import one

CLASSES = Pretraining.Settings(classes=True)


def test_training_is_mamls_without_inner_steps_and_adapting_is_its_inner_loop():
    method, meta, batch = parts.regression(Pretraining, steps=3, outer=Optimizer("Adam"))
    assert method.data_spec.steps == 0
    assert batch.support == ()
    plain, _, _ = parts.regression(MAML, steps=0, outer=Optimizer("Adam"))
    states = [each.update(each.initial_state(meta), batch)[0] for each in (method, plain)]
    assert all(map(torch.equal, *(tree.leaves(state.meta) for state in states)))
    tuned = [
        adapt(each.inner, meta, (one(batch.query, 0),) * 3)
        for each in (method, parts.regression(MAML, steps=3)[0])
    ]
    assert all(map(torch.equal, *map(tree.leaves, tuned)))


def test_meta_gradient_by_finite_differences():
    parts.assert_finite_differences(*parts.regression(Pretraining))


@pytest.mark.parametrize("outer", [None, Optimizer()])
def test_episodes(outer):
    method, meta, state, metrics = parts.by_episodes(Pretraining, outer)
    assert metrics["outcome"] == "accepted"
    assert method.data_spec.steps == 0
    assert not torch.equal(tree.ravel(meta)[0], tree.ravel(state.meta)[0])


def logits(seed=0):
    """A classifier of vectors into four classes of which tasks have two, a task, its start."""
    torch.manual_seed(seed)
    module = models.CategoricalMLP(3, 4, models.PolicyConfig(hidden=(5,))).double()
    method = Pretraining(
        models.functional(module),
        InnerConfig(2, step_size=0.5),
        Optimizer(),
        CLASSES,
        inner_loss=losses.cross_entropy,
        outer_loss=losses.cross_entropy,
    )
    data = Examples(torch.randn(6, 3).double(), torch.arange(6) % 2)
    return method, method.init_meta(models.parameters(module)), data


def test_the_first_step_on_classes_begins_with_a_new_head():
    """From zeros all classes are as likely, so the head is -α (1/4 - [y = class]) features."""
    method, meta, data = logits()
    path = adapt(method.inner, meta, (data, data))
    assert path[0] is meta["params"]
    params = path[0]
    x = (data.inputs @ params["logits.0.weight"].T + params["logits.0.bias"]).relu()
    error = 0.25 - torch.nn.functional.one_hot(data.targets, 4).double()
    torch.testing.assert_close(path[1]["logits.2.weight"], -0.5 * error.T @ x / 6)
    torch.testing.assert_close(path[1]["logits.2.bias"], -0.5 * error.mean(0))
    for name in ("logits.0.weight", "logits.0.bias"):  # behind a head of zeros
        assert torch.equal(path[1][name], path[0][name])
        assert not torch.equal(path[2][name], path[1][name])
    gradient = torch.func.grad(method.inner_loss)(path[1], data)
    expected = tree.map(lambda p, g: p - 0.5 * g, path[1], gradient)
    torch.testing.assert_close(path[2], expected)


def test_resumes():
    parts.assert_resumes(*parts.regression(Pretraining, outer=Optimizer("Adam")))
