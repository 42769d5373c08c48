"""Which runs go into one table, and what a comparison may overwrite."""

import dataclasses
from pathlib import Path

import pytest

from rlmaml.errors import ConfigError
from runners import presets
from runners.evaluation import grouping
from runners.evaluation.compare_runs import compare_runs
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.grouping import by_method
from runners.run_dir import RunDir
from tests.helpers.runs import refused, tiny

pytestmark = pytest.mark.slow

SMALL = EvalConfig(tasks=3, episodes=2, steps=2)


def test_runs_by_several_algorithms_are_named_by_them():
    """And by what differs among those of one, not by what an algorithm has of its own."""
    plain = presets.PRESETS["sinusoid"][1]
    cavia = plain.with_algorithm("cavia")
    wide = dataclasses.replace(
        cavia, algorithm_settings=dataclasses.replace(cavia.algorithm_settings, contexts=9)
    )
    configs = [plain, cavia, dataclasses.replace(cavia, seed=1), wide]
    folders = [RunDir(Path(name)) for name in "abcd"]
    found = by_method(folders, configs)
    assert found == {
        "maml": [folders[0]],
        "cavia, algorithm_settings.contexts 5": folders[1:3],
        "cavia, algorithm_settings.contexts 9": [folders[3]],
    }
    assert list(by_method(folders[:1], configs[:1])) == ["meta-trained"]


def test_another_comparison_is_not_overwritten(tmp_path, capsys):
    others = [tiny(tmp_path / name, preset="half-cheetah-dir") for name in ("a", "b", "c")]
    compare_runs(others[:2], SMALL, quiet=True)
    before = (tmp_path / "comparison.json").read_text()
    assert "compares other runs" in refused(capsys, "evaluate", *(f.path for f in others[1:]))
    assert (tmp_path / "comparison.json").read_text() == before
    compare_runs(others, SMALL, quiet=True)  # which are those and one more
    assert "named twice" in refused(capsys, "evaluate", others[0].path, others[0].path)
    assert "--out" in refused(capsys, "evaluate", *(f.path for f in others), "--out", "/")


def test_a_comparison_that_cannot_be_read_is_not_overwritten(tmp_path):
    (tmp_path / "comparison.json").write_text('{"methods"')
    with pytest.raises(ConfigError, match=r"cannot be read.* Move it away"):
        grouping.check_place(tmp_path, [RunDir(tmp_path / "a")])


def test_the_folder_in_which_runs_lie_together():
    assert grouping.common_folder([Path("a/b")]) == Path("a/b")
    assert grouping.common_folder([Path("a/b"), Path("a/c/d")]) == Path("a")
    mixed = [Path("a/b").absolute(), Path("a/c")]
    assert grouping.common_folder(mixed) == Path("a").absolute()
