"""From a checkpoint on disk to parameters, state and statistics."""

from types import SimpleNamespace

import pytest
import torch

from rlmaml import checkpoint, tree
from rlmaml.algorithms.maml import MAML
from rlmaml.checkpoint import Checkpoint, CheckpointError
from rlmaml.config import EnvConfig, TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.outer.optimizer import Optimizer
from rlmaml.outer.trust_region import TrustRegion
from rlmaml.sampling.normalizer import Normalizer
from runners.run_dir import RunDir
from runners.training.checkpoints import (
    check_data,
    fitted_meta,
    load_learner,
    read_checkpoint,
    restore_normalizer,
    restore_state,
)
from tests.helpers import parts

META = {"params": {"b": torch.arange(2.0), "a": torch.ones(3, 2)}, "none": {}}


def start(**state):
    return Checkpoint(3, META, state, {})


def experiment(**more):
    return SimpleNamespace(**{"normalizer": None, "fingerprint": None, **more})


def noted(*rows):
    normalizer = Normalizer((2,))
    normalizer.observe(torch.tensor(rows), torch.ones(len(rows)))
    normalizer.commit()
    return normalizer


def test_the_newest_the_best_and_one_that_is_named_are_read(tmp_path):
    for iteration in (1, 2, 3):
        meta = {"params": {"x": torch.full((2,), float(iteration))}}
        checkpoint.save(tmp_path / "checkpoints", iteration, meta, {}, {}, keep=3, best=2)
    assert read_checkpoint(tmp_path).iteration == 3
    assert read_checkpoint(tmp_path, type(tmp_path)("best")).iteration == 2
    named = tmp_path / "checkpoints" / "000001"
    assert read_checkpoint(tmp_path, named).meta["params"]["x"].tolist() == [1.0, 1.0]
    assert read_checkpoint(named).iteration == 1
    with pytest.raises(CheckpointError, match="000009"):
        read_checkpoint(tmp_path, tmp_path / "checkpoints" / "000009")


def test_a_policy_that_is_shown_its_task_is_not_loaded_to_adapt(tmp_path):
    folder = RunDir(tmp_path / "run")
    folder.create(TrainConfig(env=EnvConfig(observe_task=True)))
    with pytest.raises(ConfigError, match="shown its task and does not adapt"):
        load_learner(folder)


def test_parameters_that_fit_are_in_the_order_and_groups_of_the_built_ones(tmp_path):
    loaded = {"params": {"a": torch.zeros(3, 2), "b": torch.ones(2)}}  # as a file sorts them
    fitted = fitted_meta(loaded, META, tmp_path)
    assert list(fitted) == ["params", "none"]
    assert list(fitted["params"]) == ["b", "a"]
    assert torch.equal(fitted["params"]["b"], torch.ones(2))


@pytest.mark.parametrize(
    "loaded",
    [
        {"params": {"a": torch.zeros(2, 3), "b": torch.ones(2)}},
        {"params": {"b": torch.ones(2)}},
        {"params": {"a": torch.zeros(3, 2), "b": torch.ones(2), "c": torch.ones(2)}},
        {"other": {"a": torch.zeros(3, 2), "b": torch.ones(2)}},
    ],
)
def test_parameters_that_do_not_fit_are_refused_with_their_path(tmp_path, loaded):
    with pytest.raises(ConfigError, match=rf"in {tmp_path} have shapes .* are needed") as refusal:
        fitted_meta(loaded, META, tmp_path)
    assert "use the same network settings" in str(refusal.value)
    assert "(3, 2)" in str(refusal.value)


def test_other_data_are_refused_and_data_of_no_files_are_not_compared(tmp_path):
    check_data(experiment(fingerprint="a"), start(data="a"), tmp_path)
    check_data(experiment(fingerprint="a"), start(), tmp_path)  # of before this was stored
    check_data(experiment(), start(data=None), tmp_path)
    for own in ("b", None):
        with pytest.raises(ConfigError, match=rf"not those that {tmp_path} was trained with"):
            check_data(experiment(fingerprint=own), start(data="a"), tmp_path)


def test_a_state_goes_on_as_it_would_have(tmp_path):
    """Momenta and all: the next update is the same, to the bit."""
    method, meta, batch = parts.regression(MAML, outer=Optimizer("Adam", 0.01))
    state, _ = method.update(method.initial_state(meta), batch)
    kept = tree.map(torch.clone, state.meta)
    stored = start(outer=method.state_dict(state))
    restored = restore_state(experiment(algorithm=method), stored, kept, tmp_path)
    assert restored.iteration == 1
    on, again = (method.update(each, batch)[0] for each in (state, restored))
    assert all(map(torch.equal, tree.leaves(on.meta), tree.leaves(again.meta)))


def test_the_state_of_another_outer_step_is_refused(tmp_path):
    method, meta, _ = parts.regression(MAML, outer=Optimizer("Adam", 0.01))
    own = experiment(algorithm=method)
    other, _, _ = parts.regression(MAML, outer=TrustRegion())
    for state in ({"outer": other.state_dict(other.initial_state(meta))}, {}):
        with pytest.raises(ConfigError, match=rf"outer step in {tmp_path} does not fit"):
            restore_state(own, start(**state), meta, tmp_path)


def test_statistics_are_taken_over_as_a_copy(tmp_path):
    stored = noted([1.0, 2.0], [3.0, 6.0])
    own = Normalizer((2,))
    restore_normalizer(experiment(normalizer=own), start(normalizer=stored.state_dict()), tmp_path)
    assert own.mean.tolist() == [2.0, 4.0]
    assert own.count == 2
    own.observe(torch.zeros(5, 2), torch.ones(5))
    own.commit()
    assert stored.mean.tolist() == [2.0, 4.0]
    restore_normalizer(experiment(), start(), tmp_path)  # none of either


def test_statistics_of_one_alone_are_refused_with_the_option_to_pass(tmp_path):
    stored = noted([1.0, 2.0], [3.0, 6.0]).state_dict()
    with pytest.raises(ConfigError, match=r"trained with obs.*--normalize-observations True"):
        restore_normalizer(experiment(), start(normalizer=stored), tmp_path)
    with pytest.raises(ConfigError, match=r"trained without obs.*--normalize-observations False"):
        restore_normalizer(experiment(normalizer=Normalizer((2,))), start(), tmp_path)
