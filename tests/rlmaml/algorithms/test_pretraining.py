"""Pre-training: jointly, on tasks or on classes, and fine-tuned to a task."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from envs.few_shot.half_planes import LinearClassificationTasks
from envs.few_shot.images import FewShotTasks
from rlmaml import losses, models, tree
from rlmaml.algorithms.base import AlgorithmContext, InnerConfig
from rlmaml.algorithms.maml import MAML
from rlmaml.algorithms.pretraining import Pretraining
from rlmaml.errors import ConfigError
from rlmaml.inner import adapt
from rlmaml.models.conv import ConvConfig
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.sampling.examples import ClassLabels
from rlmaml.types import Examples, MetaBatch
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.training.train import meta_batch
from tests.helpers import parts
from tests.helpers.problems import one
from tests.helpers.runs import run

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


def numbered(rotations=True):
    """Images that say what they are: class k is k/10 in three corners, 1 in the fourth."""
    image = np.zeros((12, 4, 4), np.float32)
    classes = [image + k / 10 for k in range(7)]
    for images in classes:
        images[:, 0, 0] = 1.0
    return FewShotTasks(classes, {"train": (5, 0, 3), "test": (2, 1, 6)}, 2, rotations)


@pytest.mark.parametrize("rotations", [False, True])
def test_a_class_has_one_label_in_all_training_tasks(rotations):
    family = numbered(rotations)
    labeled = ClassLabels(family)
    assert labeled.outputs.n == labeled.class_count == (12 if rotations else 3)
    tasks = labeled.sample(200, np.random.default_rng(0))
    sets = labeled.episode(tasks, 2, 3, np.random.default_rng(1))
    own = family.episode(tasks, 2, 3, np.random.default_rng(1))
    seen: dict[int, set] = {}
    for (x, y), (same_x, same_y) in zip(sets, own, strict=True):
        assert np.array_equal(x, same_x)
        assert y.shape == same_y.shape
        for image, label in zip(x.reshape(-1, 16), y.ravel(), strict=True):
            seen.setdefault(int(label), set()).add(image.tobytes())
    assert sorted(seen) == list(range(labeled.class_count))
    assert all(len(images) == 1 for images in seen.values())
    assert len(set.union(*seen.values())) == len(seen)


def test_tasks_of_held_out_classes_keep_their_labels():
    family = numbered()
    outside = ClassLabels(family, relabel=False)
    assert outside.outputs.n == 12
    tasks = outside.sample(3, np.random.default_rng(0), split="test")
    (_, y), (_, query_y) = outside.episode(tasks, 2, 3, np.random.default_rng(1))
    assert y.tolist() == [[0, 1] * 2] * 3
    assert query_y.tolist() == [[0, 1] * 3] * 3
    with pytest.raises(ValueError, match="is not of the train split"):
        ClassLabels(family).episode(tasks, 2, 3, np.random.default_rng(1))


def test_few_classes_have_as_many_outputs_as_a_task():
    family = numbered(rotations=False)
    family.outputs.n = np.int64(5)
    assert ClassLabels(family).outputs.n == 5


def digits(classes):
    config = replace(
        PRESETS["digits"][1],
        iterations=60,
        tasks=8,
        threads=1,
        conv=ConvConfig(2, 8, "stride"),
        optimizer=Optimizer(learning_rate=0.02),
    )
    return replace(
        with_algorithm(config, "pretraining"), algorithm_settings=Pretraining.Settings(classes)
    )


@pytest.mark.parametrize("classes", [True, False])
def test_classes_can_be_learned_jointly_and_labels_that_change_cannot(classes):
    config = digits(classes)
    experiment = build_experiment(config)
    method = experiment.algorithm
    state = method.init(experiment.params)
    outputs = len(state.meta["params"]["logits.bias"])
    assert outputs == (4 * 4 if classes else 3)
    found = []
    for i in range(config.iterations):
        batch = meta_batch(experiment, config, state.meta, i)
        assert batch.support == ()
        state, metrics = method.update(state, batch)
        found.append(metrics["loss"])
    share = np.mean(found[-10:]) / np.log(outputs)
    assert share < 0.6 if classes else share > 0.95


def test_held_out_digits_are_told_apart_by_a_new_head():
    config = digits(True)
    experiment = build_experiment(config, tasks=50)
    tasks = experiment.sample_tasks(50, np.random.default_rng(0), split="test")
    support, query = (
        experiment.sampler(experiment.params, tasks, (0, 0, 0), role)
        for role in ("support", "query")
    )
    assert support.targets.unique().tolist() == query.targets.unique().tolist() == [0, 1, 2]
    meta = experiment.algorithm.init_meta(experiment.params)
    assert len(meta["params"]["logits.bias"]) == 16
    batch = MetaBatch((support,) * 5, query)
    accuracy = experiment.metric.scores(meta, batch)["accuracy"].mean(0)
    assert accuracy[0] < 0.34  # those outputs are of other classes
    assert accuracy[-1] > 0.6


def test_digits_from_the_command_line(tmp_path, capsys):
    small = ("--conv.filters", 4, "--tasks", 4, "--threads", 1, "--validation-tasks", 5)
    run("train", "digits", "--algorithm", "pretraining", "--out", tmp_path, "--quiet", *small,
        "--iterations", 2, "--checkpoint-every", 2)  # fmt: skip
    run("train", "--resume", tmp_path, "--iterations", 4, "--quiet")
    run("evaluate", tmp_path, "--tasks", 5, "--steps", 2, "--quiet")
    assert "accuracy on 5 held-out tasks" in capsys.readouterr().out


def test_what_usually_goes_with_it():
    assert with_algorithm(PRESETS["digits"][1], "pretraining").algorithm_settings == CLASSES
    assert not with_algorithm(PRESETS["sinusoid"][1], "pretraining").algorithm_settings.classes


def test_refusals():
    with pytest.raises(ValueError, match=r"does not differentiate.*inner.hessian support"):
        Pretraining(None, InnerConfig(hessian="separate"))
    with pytest.raises(ValueError, match=r"algorithm_settings.classes.*from episodes"):
        Pretraining.check(
            AlgorithmContext(settings=CLASSES, inner=InnerConfig(), outer=TrustRegion())
        )
    for preset in ("sinusoid", "linear-classification"):
        config = with_algorithm(PRESETS[preset][1], "pretraining")
        with pytest.raises(
            ConfigError, match=r"algorithm_settings.classes.*Tasks has no `class_count`"
        ):
            build_experiment(replace(config, algorithm_settings=CLASSES))
    assert not hasattr(LinearClassificationTasks(), "class_count")


def test_resumes():
    parts.assert_resumes(*parts.regression(Pretraining, outer=Optimizer("Adam")))


def test_learns():
    before, after = parts.learned_sinusoids("pretraining")
    assert before < 4.5  # the mean square of the tasks; untrained networks are at about 5
    assert after < before
