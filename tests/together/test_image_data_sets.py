"""The commands that docs give for data sets of papers, on small drawn copies of their layouts."""

import re
import shlex
from pathlib import Path

import pytest

from runners.run_dir import RunDir
from tests.helpers.pictures import paint_classes
from tests.helpers.runs import run

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "adding_environments.md"
COMMANDS = {
    name: command
    for name, command in re.findall(r"^\| ([\w, -]+) \| `rlmaml (.*)` \|$", PAGE.read_text(), re.M)
}
NAMES = [f"class{k:02d}" for k in range(15)]
SMALL = [
    *("--iterations", 1, "--tasks", 1, "--examples.queries", 1, "--validation-tasks", 1),
    *("--conv.filters", 2, "--threads", 1, "--quiet", "--out", "run"),
]


def omniglot():
    root = Path("omniglot")
    paint_classes(root / "images_background" / "Greek", [f"character{k:02d}" for k in range(25)])
    paint_classes(root / "images_evaluation" / "Runes", NAMES[:5])


def mini_imagenet():
    for k, split in enumerate(("train", "val", "test")):
        paint_classes(Path("miniImagenet") / split, NAMES[5 * k : 5 * k + 5])


def cifar_fs():
    paint_classes(Path("cifar100") / "data", NAMES)
    lists = Path("cifar100/splits/bertinetto")
    lists.mkdir(parents=True)
    for k, split in enumerate(("train", "val", "test")):
        (lists / f"{split}.txt").write_text("\n".join(NAMES[5 * k : 5 * k + 5]))


DRAWN = {
    "Omniglot": omniglot,
    "mini-ImageNet, tiered-ImageNet": mini_imagenet,
    "CIFAR-FS": cifar_fs,
}


def test_every_command_is_run():
    assert COMMANDS.keys() == DRAWN.keys()


@pytest.mark.parametrize("name", DRAWN)
def test_it_trains(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    DRAWN[name]()
    run(*shlex.split(COMMANDS[name]), *SMALL)
    (line,) = RunDir(Path("run")).read_metrics()
    assert 0 <= line["validation/accuracy/post"] <= 1
