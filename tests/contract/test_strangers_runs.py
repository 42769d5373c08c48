"""Runs of somebody else: what they may have imported, written to a terminal, and put on a page."""

from __future__ import annotations

import json
import sys
import warnings

import pytest

import rlmaml
from rlmaml import checkpoint, json_files, trust
from rlmaml.config import EnvConfig, TrainConfig
from rlmaml.errors import DamageWarning
from runners.command_line import cli
from runners.evaluation import compare_algorithms
from runners.formatting import one_line, printable
from runners.run_dir import RunDir
from tests.helpers import browser
from tests.helpers.processes import run_python
from tests.helpers.runs import refused, run

pytestmark = pytest.mark.slow

MODULE = "strangers_module"
CODE = """
import gymnasium
from rlmaml.algorithms.maml import MAML
from rlmaml.outer.trust_region import TrustRegion

class Mine(MAML):
    pass

class Step(TrustRegion):
    pass

gymnasium.register("Strange-v0", entry_point="envs.navigation.env:NavigationEnv")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / f"{MODULE}.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    yield MODULE
    sys.modules.pop(MODULE, None)


def name_in(folder, **fields):
    """Have a run's files name something, as though it had been trained so."""

    def change(config):
        for name, value in fields.items():
            if name == "id":
                config["env"]["id"] = value
            else:
                config[name] = value

    path = folder.path / "config.json"
    content = json.loads(path.read_text())
    change(content["config"])
    content.pop("sha256", None)
    path.write_text(json.dumps(content))
    for place in folder.checkpoints.iterdir():
        manifest = json.loads((place / checkpoint.MANIFEST).read_text())
        change(manifest["config"])
        about = {name: value for name, value in manifest.items() if name != "sha256"}
        manifest["sha256"]["about"] = json_files.digest(about)
        (place / checkpoint.MANIFEST).write_text(json.dumps(manifest))


def commands(folder):
    return {
        "evaluate": ("evaluate", folder.path, "--tasks", 2),
        "several": ("evaluate", folder.path, folder.path, "--against", "random"),
        "export": ("export", folder.path),
        "render": ("render", folder.path),
        "report": ("report", folder.path),
        "resume": ("train", "--resume", folder.path),
        "repeat": ("train", "--config", folder.path / "config.json", "--out", "again"),
    }


@pytest.mark.parametrize(
    "named",
    [
        {"algorithm": f"{MODULE}:Mine"},
        {"outer": f"{MODULE}:Step", "outer_settings": {}},
        {"id": f"{MODULE}:Strange-v0"},
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "export", "render", "report", "resume", "repeat"])
def test_no_command_imports_what_a_file_names(folder, module, capsys, named, command):
    name_in(folder, **named)
    said = refused(capsys, *commands(folder)[command])
    assert f"would import the module {module!r}" in said
    assert "config.json names the" in said
    assert "pass --trust" in said
    assert module not in sys.modules


def test_nor_does_python(folder, module):
    name_in(folder, algorithm=f"{module}:Mine")
    for place in (folder.path, checkpoint.latest(folder.checkpoints)):
        with pytest.raises(trust.UntrustedError, match="trust=True"):
            rlmaml.load(place)
    assert module not in sys.modules
    assert rlmaml.load(folder.path, trust=True).config.algorithm == f"{module}:Mine"
    assert rlmaml.load(folder.path).iteration == 4  # imported now


@pytest.mark.parametrize(
    "words",
    [
        ("--trust", "train", "--resume"),
        ("train", "--trust", "--algorithm", f"{MODULE}:Mine", "--resume"),
        ("train", "--algorithm", f"{MODULE}:Mine", "--resume"),
        ("train", f"--algorithm={MODULE}:Mine", "--resume"),
    ],
)
def test_what_the_user_names_or_trusts_is_imported(folder, module, words):
    name_in(folder, algorithm=f"{module}:Mine")
    run(*words, folder.path, "--quiet")
    assert module in sys.modules


def test_another_option_or_path_of_that_name_is_no_trust(folder, module, capsys):
    name_in(folder, algorithm=f"{module}:Mine")
    strange = folder.path.rename(folder.path.with_name(f"{module}:run"))
    assert "would import" in refused(capsys, "evaluate", strange)
    words = ("train", "--resume", strange, "--env.id", "other:Mine")
    assert "would import" in refused(capsys, *words)


@pytest.mark.parametrize(
    "name",
    [
        "antigravity:Mine",
        "runners.__main__:Mine",
        "envs_of_mine:Mine",
        "rlmaml_mine:Mine",
        "torch.utils.bottleneck:Mine",
        "..strangers:Mine",
        "os:system",
        "builtins:object",
        "subprocess:Popen",
        "rlmaml.no_such:Mine",
    ],
)
def test_tricks_with_names_get_nowhere(folder, capsys, name):
    name_in(folder, algorithm=name)
    refused(capsys, "evaluate", folder.path)
    assert "antigravity" not in sys.modules
    assert "runners.__main__" not in sys.modules


def test_a_folder_of_our_name_is_not_ours(tmp_path):
    """In a process of its own, where `envs` is not imported yet."""
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("print('IMPORTED')")
    code = (
        "from pathlib import Path\nfrom rlmaml import trust\n"
        "with trust.reading(Path('x.json')):\n"
        "    trust.check_module('rlmaml.algorithms.reptile', 'it')\n"
        "    try:\n        trust.check_module('envs.evil', 'it')\n"
        "    except trust.UntrustedError:\n        print('refused')\n"
    )
    process = run_python(code, tmp_path)
    assert (process.stdout, process.stderr) == ("refused\n", "")


def test_nor_is_it_for_a_comparison_that_goes_on(folder, module):
    made = {"config": {**folder.read_config().to_dict(), "algorithm": f"{module}:Mine"}}
    work = compare_algorithms._Work(folder.read_config(), None, (0,), None)
    assert not work.is_of(made, folder.path / "row.json")
    assert module not in sys.modules


def test_what_is_made_in_python_is_its_users_own(module, tmp_path):
    config = TrainConfig(algorithm=f"{module}:Mine", env=EnvConfig(id=f"{module}:Strange-v0"))
    assert config.algorithm_class.__name__ == "Mine"
    RunDir(tmp_path / "own").create(config)
    assert RunDir(tmp_path / "own").read_config() == config


# Terminals.

ESCAPES = ["\x1b[31mred", "\x9b31m", "\x1b]0;title\x07", "a\rb", "\x00", "\u202egnp", "\udcff"]


@pytest.mark.parametrize("text", ESCAPES)
def test_escapes_are_spelt_out(text):
    for shown in (printable(text), one_line(text)):
        assert shown.isprintable()
        assert "\\" in shown
    assert printable(f"é ± →\n\t{'x'}") == "é ± →\n\tx"
    assert one_line(" one\n\n  two") == "one two"


@pytest.mark.parametrize("text", ESCAPES[:5])
def test_what_a_file_says_is_not_written_raw(folder, capsys, text):
    name_in(folder, preset=text)
    assert "\\" in refused(capsys, "evaluate", folder.path)
    name_in(folder, preset="navigation", algorithm=f"{text}:Mine")
    said = refused(capsys, "evaluate", folder.path)
    assert said.isprintable()


def test_results_and_warnings_are_not_written_raw(monkeypatch, capsys):
    def say():
        warnings.warn("a\x1b[31m\nb", DamageWarning, stacklevel=1)
        return "c\x1b[31m\nd"

    monkeypatch.setattr(cli, "_function", lambda location: say)
    cli.main(["list"])
    written = capsys.readouterr()
    assert written.out == "c\\x1b[31m\nd\n"
    assert written.err == "rlmaml: a\\x1b[31m b\n"


# Pages.

HOSTILE = (
    "</script></title></style>\"'><script>window.taken = 1</script><img src=x onerror=taken=1>"
)


def hostile(folder):
    """Have every word of a run's files be markup."""
    name_in(folder, preset=HOSTILE)
    path = folder.path / "config.json"
    content = json.loads(path.read_text())
    origin = {"init": HOSTILE, "command": f"rlmaml {HOSTILE}", "versions": {HOSTILE: HOSTILE}}
    path.write_text(json.dumps({**content, **origin}))
    result = json.loads(folder.evaluation.read_text())
    group = {"tasks": 1, "mean": result["mean"], "ci95": result["ci95"]}
    result |= {"preset": HOSTILE, "note": HOSTILE, "command": HOSTILE}
    result["groups"] = {HOSTILE: group, "$\\bad{": group}
    folder.evaluation.write_text(json.dumps(result))


@pytest.mark.skipif(not (browser.CHROMIUM and browser.DRIVER), reason="needs Chromium")
def test_words_of_a_file_are_text_in_the_page(folder, tmp_path):
    run("evaluate", folder.path, "--tasks", 2, "--steps", 1, "--quiet")
    hostile(folder)
    run("report", folder.path, "--quiet", "--no-videos")
    with browser.chromium(tmp_path / "profile") as shown:
        shown.open(folder.path / "report.html")
        assert shown.run("return window.taken") is None
        assert shown.run("return document.querySelectorAll('script, img[src=x]').length") == 0
        assert HOSTILE in shown.run("return document.body.textContent")
        assert shown.console() == []
