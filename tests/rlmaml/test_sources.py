"""What a run is named by. What the hub gives is in tests/runners/sharing."""

import re
import shutil
import sys

import pytest

import rlmaml
from rlmaml import sources
from rlmaml.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["sinusoids", "no-such"])
def test_a_name_of_nothing_lists_the_names(name):
    with pytest.raises(ConfigError, match=f"no run folder {name}.*Those are: .*sinusoid"):
        rlmaml.load(name)


@pytest.mark.parametrize("name", ["x" * 300, "runs/" + "x" * 300])
def test_a_name_that_no_folder_has_is_refused(tmp_path, name):
    (tmp_path / "runs").mkdir()
    with pytest.raises(ConfigError, match="is no run folder: File name too long"):
        rlmaml.load(name)


def test_a_folder_has_precedence(tmp_path):
    shutil.copytree(sources.PRETRAINED / "sinusoid", tmp_path / "navigation")
    assert rlmaml.load("navigation").config.preset == "sinusoid"
    assert sources.find("navigation") is None
    found = sources.find("sinusoid")
    assert found is not None
    assert found.path == sources.PRETRAINED / "sinusoid"


@pytest.mark.parametrize("name", ["sinusoid", "sinusoid/", "./sinusoid"])
def test_a_name_is_one_however_it_is_written(name):
    assert rlmaml.load(name).path.is_relative_to(sources.PRETRAINED / "sinusoid")


@pytest.mark.parametrize("name", ["../pretrained/sinusoid", "sinusoid/../x", "/sinusoid"])
def test_a_path_is_no_name(name):
    assert not sources.is_shared(name)
    with pytest.raises(ConfigError, match="no checkpoint"):
        rlmaml.load(name)


@pytest.mark.parametrize(
    "name", ["hf://me/mine", "hf:/me/mine", "hf://me/mine@v1", "hf://me/m.i_n-e"]
)
def test_a_package_that_is_missing_is_named(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'rlmaml[hub]'")):
        rlmaml.load(name)


@pytest.mark.parametrize(
    "name",
    [
        "hf://",
        "hf://me",
        "hf://" + "x" * 300,
        "hf://me/../x",
        "hf://../x",
        "hf://me/x@",
        "hf://me/x@../y",
        "hf:x",
    ],
)
def test_what_is_no_place_on_the_hub_is_refused(name):
    with pytest.raises(ConfigError, match="A run on the hub is hf://USER/NAME") as refusal:
        rlmaml.load(name)
    assert "got hf:/" not in str(refusal.value).replace("got hf://", "")


def test_names_are_spelled_as_their_readers_write_them():
    assert sources.spelled("hf:/me/mine@v1") == "hf://me/mine@v1"
    assert sources.spelled("runs/hf:/x") == "runs/hf:/x"
