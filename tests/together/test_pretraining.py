"""Pre-training in runs: on classes of images, from the command line."""

from dataclasses import replace

import numpy as np
import pytest

from envs.few_shot.half_planes import LinearClassificationTasks
from envs.few_shot.images import FewShotTasks
from rlmaml.algorithms.pretraining import Pretraining
from rlmaml.algorithms.settings import AlgorithmContext, InnerConfig
from rlmaml.errors import ConfigError
from rlmaml.models.conv import ConvConfig
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.sampling.examples import ClassLabels
from rlmaml.types import MetaBatch
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.presets.overrides import with_algorithm
from runners.training.train import meta_batch
from tests.helpers.runs import run

pytestmark = pytest.mark.slow

CLASSES = Pretraining.Settings(classes=True)


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
