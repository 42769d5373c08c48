"""ANIL: the head alone adapts; naming everything is MAML."""

import pytest
import torch

from rlmaml import models, tree
from rlmaml.algorithms.anil import ANIL
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.inner import adapt
from rlmaml.models.conv import ConvConfig
from rlmaml.models.mlp import PolicyConfig
from rlmaml.objective import over_tasks
from rlmaml.outer.optimizer import Optimizer
from rlmaml.types import MetaBatch
from tests.helpers import parts
from tests.helpers.problems import one

EVERYTHING = ANIL.Settings(adapts=("mean",))


@pytest.mark.parametrize("steps", [1, 3])
def test_against_the_closed_form(steps):
    tasks, alpha = parts.split_quadratics(), 0.3
    method = ANIL(
        None,
        InnerConfig(steps, step_size=alpha),
        Optimizer(),
        ANIL.Settings(adapts=("head",)),
        inner_loss=parts.split_loss,
        outer_loss=parts.split_loss,
    )
    point = torch.randn(5, dtype=torch.float64)
    meta = method.init_meta({"body": point[:2], "head.end": point[2:]})
    path = over_tasks(lambda data: adapt(method.inner, meta, (data,) * steps))(tasks)
    ends, pulled = parts.descended(tasks, point, alpha, steps)
    torch.testing.assert_close(torch.cat(list(path[-1].values()), 1), ends)
    found = parts.gradient(method, meta, MetaBatch((tasks,) * steps, tasks))
    torch.testing.assert_close(tree.ravel(found)[0], pulled)


def test_naming_everything_is_maml():
    anil, meta, batch = parts.regression(ANIL, EVERYTHING, outer=Optimizer("Adam"))
    maml, _, _ = parts.regression(MAML, outer=Optimizer("Adam"))
    for method in (anil, maml):
        method.config = InnerConfig(2, 0.3)
    states = [method.update(method.initial_state(meta), batch)[0] for method in (anil, maml)]
    assert all(map(torch.equal, *(tree.leaves(state.meta) for state in states)))


def test_naming_everything_is_maml_in_a_trust_region_on_episodes():
    everything = ANIL.Settings(adapts=("mean", "log_std"))
    found = [parts.by_episodes(*args) for args in ((ANIL, None, everything), (MAML,))]
    assert found[0][3]["outcome"] == "accepted"
    assert all(map(torch.equal, *(tree.leaves(each[2].meta) for each in found)))


def test_only_the_head_adapts_but_everything_is_meta_learned():
    method, meta, batch = parts.regression(ANIL)
    for params in adapt(method.inner, meta, one(batch, 0).support)[1:]:
        moved = {name for name in params if params[name] is not meta["params"][name]}
        assert moved == {"mean.4.weight", "mean.4.bias"}
        assert list(params) == list(meta["params"])
    assert all(leaf.any() for leaf in tree.leaves(parts.gradient(method, meta, batch)))
    assert method.network(meta["params"]) is meta["params"]


def test_the_standard_deviation_of_a_policy_is_of_the_head():
    _, meta, state, metrics = parts.by_episodes(ANIL)
    assert metrics["outcome"] == "accepted"
    assert all(
        (new != old).any() for new, old in zip(*map(tree.leaves, (state.meta, meta)), strict=True)
    )
    assert models.head(meta["params"]) == ("log_std", "mean.2.weight", "mean.2.bias")


def test_meta_gradient_by_finite_differences():
    parts.assert_finite_differences(*parts.regression(ANIL))


def test_the_head_is_found_by_name_in_any_order():
    deep = models.parameters(models.CategoricalMLP(2, 3, PolicyConfig(hidden=(2,) * 6)))
    deep = {name: deep[name] for name in sorted(deep)}  # as a checkpoint has them
    assert models.head(deep) == ("logits.12.bias", "logits.12.weight")
    assert models.layers(deep)[:2] == ["logits.0", "logits.2"]
    images = models.ConvClassifier((1, 8, 8), 3, ConvConfig(blocks=2, filters=2))
    assert models.head(models.parameters(images)) == ("logits.weight", "logits.bias")
    plain = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
    assert models.head(models.parameters(plain)) == ("2.weight", "2.bias")


def test_a_prefix_is_a_whole_part_of_a_name():
    names = ("a.1.weight", "a.10.weight", "a.1.bias", "b")
    assert models.head(names, ("a.1", "b")) == ("a.1.weight", "a.1.bias", "b")


def test_refusals():
    with pytest.raises(ValueError, match=r"no parameter 'mean.9': use mean.0.weight"):
        parts.regression(ANIL, ANIL.Settings(adapts=("mean.4", "mean.9")))
    with pytest.raises(ValueError, match=r"do not tell.*in algorithm_settings"):
        models.head(("trunk.weight", "top.weight"))
    with pytest.raises(ValueError, match="do not tell"):
        models.head(("x",))


def test_resumes():
    parts.assert_resumes(*parts.regression(ANIL, outer=Optimizer("Adam")))
