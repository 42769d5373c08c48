"""Runs that a stranger shared: what their files may name, and sizes that they may claim."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import rlmaml
from rlmaml import checkpoint, json_files, sources, trust
from rlmaml.errors import ConfigError
from runners.run_dir import RunDir
from runners.sharing.push import push
from tests.helpers.runs import refused

DATA = Path(__file__).parents[1] / "data" / "runs"
MODULE = "hostile_module"
KINDS = {"episodes": "normalized", "examples": "examples"}


@pytest.fixture
def shared(request, tmp_path, monkeypatch):
    """A run folder as though it was downloaded: of episodes, or of what a test says."""
    monkeypatch.chdir(tmp_path)
    kind = KINDS[getattr(request, "param", "episodes")]
    push(DATA / kind, to_folder=tmp_path / "shared", small=True)
    return RunDir(tmp_path / "shared")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that is found and writes a file when it is imported."""
    (tmp_path / f"{MODULE}.py").write_text(f"open({str(tmp_path / 'taken')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield MODULE
    sys.modules.pop(MODULE, None)


def place_of(folder):
    return checkpoint.latest(folder.checkpoints)


def rewrite(folder, **config):
    """Have both files of the configuration say something, with checksums that are right."""
    path = folder.path / "config.json"
    content = json.loads(path.read_text())
    place = next(folder.checkpoints.iterdir())
    manifest = json.loads((place / checkpoint.MANIFEST).read_text())
    for stored in (content["config"], manifest["config"]):
        for name, value in config.items():
            group, _, member = name.partition("__")
            if member:
                stored[group][member] = value
            else:
                stored[group] = value
    content.pop("sha256", None)
    path.write_text(json.dumps(content))
    seal(place, manifest)


def seal(place, manifest):
    """Write a manifest with the hashes of what is there."""
    about = {name: value for name, value in manifest.items() if name != "sha256"}
    names = (checkpoint.META, checkpoint.SHARED_STATE)
    hashes = {name: checkpoint._digest(place / name) for name in names}
    content = {**about, "sha256": {**hashes, "about": json_files.digest(about)}}
    (place / checkpoint.MANIFEST).write_text(json.dumps(content))


def replace(place, name, tensors, about=None):
    safetensors.torch.save_file(tensors, place / name, about)
    seal(place, json.loads((place / checkpoint.MANIFEST).read_text()))


# Code.

NAMED = [
    {"algorithm": f"{MODULE}:Mine"},
    {"outer": f"{MODULE}:Step", "outer_settings": {}},
    {"env__id": f"{MODULE}:Strange-v0"},
]


@pytest.mark.parametrize("named", NAMED)
def test_nothing_that_it_names_is_imported(shared, module, tmp_path, capsys, named):
    rewrite(shared, **named)
    with pytest.raises(trust.UntrustedError, match=f"would import the module '{module}'"):
        rlmaml.load(shared.path)
    for command in ("evaluate", "render", "export"):
        assert "pass --trust" in refused(capsys, command, shared.path)
    assert "pass --trust" in refused(capsys, "push", shared.path, "--to-folder", "again")
    assert "pass --trust" in refused(
        capsys, "train", "--config", shared.path / "config.json", "--init", shared.path
    )
    assert not (tmp_path / "taken").exists()
    assert module not in sys.modules


@pytest.mark.parametrize("named", NAMED[:1])
def test_it_is_where_it_is_trusted(shared, module, tmp_path, named):
    rewrite(shared, **named)
    with pytest.raises(ConfigError, match="has no attribute 'Mine'"):
        rlmaml.load(shared.path, trust=True)
    assert (tmp_path / "taken").exists()


@pytest.mark.parametrize("named", NAMED)
def test_nor_of_a_run_by_name(shared, module, tmp_path, monkeypatch, capsys, named):
    """What comes with the package, and what the hub's library gives, are read as any other."""
    rewrite(shared, **named)
    monkeypatch.setattr(sources, "PRETRAINED", tmp_path / "package")
    shutil.copytree(shared.path, tmp_path / "package" / "mine")
    monkeypatch.setattr(sources, "_download", lambda *which: shared.path)
    for name in ("mine", "hf://me/mine"):
        with pytest.raises(trust.UntrustedError):
            rlmaml.load(name)
        assert "pass --trust" in refused(capsys, "evaluate", name)
    assert not (tmp_path / "taken").exists()


def test_a_pickle_beside_it_is_not_read(shared, tmp_path):
    place = place_of(shared)
    (place / checkpoint.STATE).write_bytes(b"cos\nsystem\n(S'touch taken'\ntR.")
    assert rlmaml.load(shared.path).iteration == 2
    (shared.path / "checkpoints" / "000002" / "state.pkl").write_bytes(b"x")
    assert rlmaml.load(shared.path).iteration == 2
    assert not (tmp_path / "taken").exists()


# Files.


@pytest.mark.parametrize("name", ["../../config.json", "/etc/passwd", "x.pt", ""])
def test_a_manifest_that_names_other_files_is_refused(shared, capsys, name):
    path = place_of(shared) / checkpoint.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["sha256"][name] = "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=re.escape(f"it names {name!r}")):
        rlmaml.load(shared.path)
    assert "no checkpoint has that" in refused(capsys, "evaluate", shared.path)


@pytest.mark.parametrize(
    "fields",
    [
        {"iteration": "../.."},
        {"iteration": 1e400},
        {"iteration": None},
        {"iteration": True},
        {"best": "../../.."},
        {"config": 7},
        {"config": "x"},
        {"config": None},
    ],
)
def test_a_manifest_of_other_types_is_refused(shared, capsys, fields):
    place = place_of(shared)
    seal(place, json.loads((place / checkpoint.MANIFEST).read_text()) | fields)
    with pytest.raises(ConfigError, match="not a complete checkpoint"):
        rlmaml.load(shared.path)
    refused(capsys, "evaluate", shared.path)


@pytest.mark.parametrize("content", ["[]", '"x"', "7", "null", '{"config": []}', "{", ""])
def test_a_configuration_that_is_none_is_refused(shared, capsys, content):
    (shared.path / "config.json").write_text(content)
    for words in (["evaluate"], ["render"], ["report"], ["export"], ["train", "--resume"]):
        assert "config.json cannot be read" in refused(capsys, *words, shared.path)


@pytest.mark.parametrize("content", ["[]", "7", '"x"', "null", '{"sha256": 7}', '{"sha256": []}'])
def test_a_manifest_that_is_none_is_refused(shared, content):
    (place_of(shared) / checkpoint.MANIFEST).write_text(content)
    with pytest.raises(ConfigError, match="not a complete checkpoint"):
        rlmaml.load(shared.path)


@pytest.mark.parametrize("name", ["meta.safetensors", "state.safetensors", "manifest.json"])
def test_a_link_to_another_file_is_no_checkpoint(shared, tmp_path, name):
    """Links are followed, as the cache of the hub's library has some; the hashes are to agree."""
    place = place_of(shared)
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    (place / name).symlink_to((place / name).rename(tmp_path / name))
    assert rlmaml.load(shared.path).iteration == 2
    (place / name).unlink()
    (place / name).symlink_to(secret)
    with pytest.raises(ConfigError) as refusal:
        rlmaml.load(shared.path)
    assert "a secret" not in str(refusal.value)


# Numbers.

TENSORS = {
    "other shapes": lambda name, value: torch.zeros(3, 3),
    "other types": lambda name, value: value.to(torch.float64),
    "fewer": lambda name, value: None if "log_std" in name else value,
    "no groups": lambda name, value: None,
}


@pytest.mark.parametrize("change", TENSORS)
def test_parameters_of_another_network_are_refused(shared, capsys, change):
    place = place_of(shared)
    held = safetensors.torch.load_file(place / checkpoint.META)
    changed = {name: TENSORS[change](name, value) for name, value in held.items()}
    changed = {name: value for name, value in changed.items() if value is not None}
    replace(place, checkpoint.META, changed)
    env = rlmaml_navigation()
    with pytest.raises(ConfigError, match="was trained on other spaces: its parameters have"):
        rlmaml.load(shared.path).adapt(env)
    assert "are needed" in refused(capsys, "evaluate", shared.path)


@pytest.mark.parametrize("shared", KINDS, indirect=True)
def test_a_network_larger_than_its_parameters_is_not_made(shared, capsys):
    """This one would fit, and take 1.6 GB."""
    rewrite(shared, policy__hidden=[20_000, 20_000])
    learner = rlmaml.load(shared.path)
    data = (np.zeros((5, 1), np.float32),) * 2 if learner.supervised else (rlmaml_navigation(),)
    said = r"settings describe has 400,\d+,\d+ parameters, and [\d,]+ are stored for it"
    with pytest.raises(ConfigError, match=said):
        learner.adapt(*data)
    assert re.search(said, refused(capsys, "evaluate", shared.path))


def rlmaml_navigation():
    import gymnasium

    env = gymnasium.make("rlmaml:rlmaml/Navigation2D-v0")
    env.unwrapped.set_task([0.1, 0.2])
    return env


STATISTICS = {
    "that are missing": ({}, "was trained with observation statistics"),
    "of another size": (
        {name: torch.zeros(7) for name in ("count", "mean", "variance")},
        "of its observation statistics count has shape",
    ),
    "that are fewer": ({"count": torch.zeros(())}, "of its observation statistics mean is missing"),
}


@pytest.mark.parametrize("which", STATISTICS)
def test_statistics_of_another_space_are_refused(shared, capsys, which):
    place = place_of(shared)
    about = {"state": json.dumps({"totals": {}, "processes": 1})}
    tensors, said = STATISTICS[which]
    replace(place, checkpoint.SHARED_STATE, tensors, about)
    with pytest.raises(ConfigError, match=said):
        rlmaml.load(shared.path).adapt(rlmaml_navigation())
    assert "observation statistics" in refused(capsys, "evaluate", shared.path)


@pytest.mark.parametrize("about", [None, {}, {"state": "7"}, {"state": "[]"}, {"state": "{"}])
def test_a_state_that_is_none_is_refused(shared, about):
    replace(place_of(shared), checkpoint.SHARED_STATE, {}, about)
    with pytest.raises(ConfigError, match="not a complete checkpoint"):
        rlmaml.load(shared.path)


@pytest.mark.parametrize("shared", ["examples"], indirect=True)
@pytest.mark.parametrize(
    "said",
    [
        {"output_size": 10**12},
        {"num_tokens": 10**12},
        {"input_shape": "abc"},
        {"input_shape": [-5]},
        {"input_shape": [10**12]},
        {"x": 1},
        7,
    ],
)
def test_a_predictor_of_huge_size_is_not_made(shared, said):
    predictor = {"input_shape": [1], "num_tokens": None, "output_size": 1, "classifies": False}
    stored = predictor | said if isinstance(said, dict) else said
    about = {"state": json.dumps({"predictor": stored})}
    place = place_of(shared)
    held = safetensors.torch.load_file(place / checkpoint.META)
    held["params/empty"] = torch.zeros(0, 10**12)  # of no bytes
    replace(place, checkpoint.META, held)
    replace(place, checkpoint.SHARED_STATE, {}, about)
    with pytest.raises(ConfigError, match="The checkpoint's predictor is"):
        rlmaml.load(shared.path)


@pytest.mark.parametrize("shared", ["examples"], indirect=True)
def test_a_shared_regression_fits(shared):
    x = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    assert rlmaml.load(shared.path).adapt(x, x)(x).shape == (5, 1)


def test_other_safetensors_are_refused(shared):
    for content in (b"", b"\xff" * 100, (2**40).to_bytes(8, "little") + b"{}"):
        place = place_of(shared)
        (place / checkpoint.META).write_bytes(content)
        seal(place, json.loads((place / checkpoint.MANIFEST).read_text()))
        with pytest.raises(ConfigError, match="not a complete checkpoint"):
            rlmaml.load(place)
        shutil.rmtree(shared.path)
        push(DATA / "normalized", to_folder=shared.path, small=True)
