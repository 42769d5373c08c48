"""Help that was printed before: the same again, without torch, until a file changes."""

import importlib.metadata
import subprocess
import sys

import pytest

from runners.command_line import kept_help

LIST = ["list"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "rlmaml" / "help"


def print_as(arguments, text):
    with kept_help.keeping(arguments):
        print(text)


@pytest.mark.parametrize(
    ("arguments", "asks"),
    [
        (["list"], True),
        (["evaluate", "--help"], True),
        (["train", "--help-all"], True),
        (["train", "walker-dir", "-h"], True),
        ([], False),
        (["--help"], False),
        (["fly", "--help"], False),
        (["list", "please"], False),
        (["train", "walker-dir"], False),
        (["train", "--config", "--help"], False),
        (["train", "runs/mine", "--help"], False),
        (["train", "walker-dir", "--algorithm", "own:Maml", "--help"], False),
    ],
)
def test_only_what_depends_on_the_package_alone_is_kept(cache, arguments, asks):
    print_as(arguments, "text")
    assert cache.exists() == asks
    assert kept_help.kept(arguments) == ("text\n" if asks else None)


def test_other_arguments_have_texts_of_their_own_and_other_terminals_new_ones(cache, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_as(LIST, "narrow")
    assert kept_help.kept(["evaluate", "--help"]) is None
    monkeypatch.setenv("COLUMNS", "200")
    assert kept_help.kept(LIST) is None
    print_as(LIST, "wide")
    assert kept_help.kept(LIST) == "wide\n"
    monkeypatch.setenv("COLUMNS", "80")
    assert kept_help.kept(LIST) is None
    print_as(["evaluate", "--help"], "other")
    assert kept_help.kept(["evaluate", "--help"]) == "other\n"
    assert len(list(cache.iterdir())) == 2


def test_a_file_that_changes_makes_it_anew(cache, tmp_path, monkeypatch):
    package = tmp_path / "package" / "part"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    origin = str(tmp_path / "package" / "__init__.py")
    spec = type("Spec", (), {"origin": origin})
    monkeypatch.setattr(kept_help.importlib.util, "find_spec", lambda name: spec)
    print_as(LIST, "old")
    assert kept_help.kept(LIST) == "old\n"
    (package / "__init__.py").write_text("changed = True")
    assert kept_help.kept(LIST) is None
    print_as(LIST, "new")
    assert kept_help.kept(LIST) == "new\n"
    assert len(list(cache.iterdir())) == 1
    (package / "more.py").touch()
    assert kept_help.kept(LIST) is None


def end_with(problem):
    with kept_help.keeping(LIST):
        print("text")
        raise problem


def test_what_failed_is_not_kept(cache):
    for problem in (SystemExit(2), ValueError()):
        with pytest.raises(type(problem)):
            end_with(problem)
        assert kept_help.kept(LIST) is None
    with pytest.raises(SystemExit):
        end_with(SystemExit(0))
    assert kept_help.kept(LIST) == "text\n"


def test_a_cache_that_cannot_be_had_costs_nothing_but_time(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    print_as(LIST, "text")
    assert kept_help.kept(LIST) is None
    assert capsys.readouterr().out == "text\n"


def test_a_damaged_file_is_made_anew(cache):
    print_as(LIST, "text")
    (file,) = cache.iterdir()
    for content in (b"", b"\xff\n\xff", file.read_bytes()[:20]):
        file.write_bytes(content)
        assert kept_help.kept(LIST) is None


def test_what_was_made_while_a_file_changed_is_not_kept(cache, monkeypatch):
    stamps = iter(["before", "after"])
    monkeypatch.setattr(kept_help, "_stamp", lambda arguments: next(stamps))
    print_as(LIST, "of the old files")
    assert not cache.exists()


@pytest.mark.parametrize("name", ["PYTHON_TYRO_UTF8_BOXES", "NO_COLOR", "COLUMNS"])
def test_what_changes_how_help_looks_makes_it_anew(cache, monkeypatch, name):
    print_as(LIST, "text")
    monkeypatch.setenv(name, "7")
    assert kept_help.kept(LIST) is None


def test_one_of_several_processes_is_told_nothing_from_the_cache(cache, monkeypatch):
    print_as(LIST, "text")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert kept_help.kept(LIST) is None


def test_names_of_another_case_are_others(cache):
    print_as(["train", "navigation", "-h"], "text")
    (file,) = cache.iterdir()
    file.rename(file.with_name("train-NAVIGATION--h.txt"))  # as a disk that folds case finds it
    assert kept_help.kept(["train", "NAVIGATION", "-h"]) is None


def test_an_installation_without_metadata_goes_without(cache, monkeypatch, capsys):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(kept_help.importlib.metadata, "version", missing)
    print_as(LIST, "text")
    assert kept_help.kept(LIST) is None
    assert capsys.readouterr().out == "text\n"


@pytest.mark.slow
def test_the_command_prints_the_same_without_loading_torch(cache, monkeypatch):
    command = [sys.executable, "-X", "importtime", "-m", "runners", "list"]
    first, second = (subprocess.run(command, capture_output=True, text=True) for _ in range(2))
    assert "half-cheetah-dir" in first.stdout
    assert second.stdout == first.stdout
    assert second.returncode == first.returncode == 0
    assert "torch" in first.stderr
    assert "torch" not in second.stderr
