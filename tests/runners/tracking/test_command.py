"""What a run has in its folder, sent to a tracker."""

import re

import pytest

from rlmaml.errors import ConfigError
from runners.errors import UnwrittenError
from runners.lock import lock
from runners.run_dir import RunDir
from runners.tracking.command import track
from runners.tracking.trackers import TRACKERS
from tests.helpers.runs import refused, run
from tests.helpers.tracking import failing, line, numbers, remembering, untrained


@pytest.fixture
def kind(monkeypatch):
    monkeypatch.setitem(TRACKERS, "fake", remembering())
    return TRACKERS["fake"]


def test_what_is_sent_is_counted_and_never_sent_twice(tmp_path, kind):
    folder = untrained(tmp_path / "run", 3)
    assert track((folder.path,), to=("fake",)).endswith("3 iterations sent to fake. here/run-0")
    folder.append_metrics(line(3))
    told = track((folder.path,), to=("fake",))
    assert told.endswith("1 iteration sent to fake; it had 3 already. here/run-0")
    assert kind.runs == {"run-0": [(k, numbers(k)) for k in range(4)]}
    assert kind.ends == [False, True], "the run has 4 iterations"


def test_the_command_sends_runs_to_trackers(tmp_path, capsys):
    pytest.importorskip("tensorboard")
    folders = [untrained(tmp_path / name, 2).path for name in "ab"]
    run("track", *folders, "--to", "tensorboard")
    told = capsys.readouterr().out.splitlines()
    assert [re.sub(r"\. .*", "", each) for each in told] == [
        f"{folder}: 2 iterations sent to tensorboard" for folder in folders
    ]


def test_a_tracker_that_fails_is_told_after_the_others_and_sent_the_rest_later(
    tmp_path, kind, monkeypatch
):
    monkeypatch.setitem(TRACKERS, "bad", failing("write", OSError("no network")))
    folder = untrained(tmp_path / "run", 3)
    with pytest.raises(UnwrittenError, match=r"bad has not taken all of .*no network") as told:
        track((folder.path,), to=("bad", "fake"))
    assert "3 iterations sent to fake" in str(told.value.result)
    monkeypatch.setitem(TRACKERS, "bad", remembering())
    assert "2 iterations sent to bad; it had 1 already" in track((folder.path,), to=("bad",))


def test_a_tracker_that_has_lost_the_run_says_how_to_begin_anew(tmp_path, kind, monkeypatch):
    folder = untrained(tmp_path / "run", 3)
    track((folder.path,), to=("fake",))
    monkeypatch.setitem(TRACKERS, "fake", failing("__init__", KeyError("run-0")))
    note = folder.tracking / "fake.json"
    with pytest.raises(ConfigError, match=f"new run there, remove {re.escape(str(note))}"):
        track((folder.path,), to=("fake",))


@pytest.mark.parametrize("content", ["{", "[]", '{"id": 3, "last": 1}', '{"id": "a"}'])
def test_a_damaged_note_is_refused(tmp_path, kind, content):
    folder = untrained(tmp_path / "run", 1)
    folder.tracking.mkdir()
    (folder.tracking / "fake.json").write_text(content)
    with pytest.raises(ConfigError, match=r"fake\.json cannot be read"):
        track((folder.path,), to=("fake",))
    assert kind.made == []


@pytest.mark.parametrize("within", [".", "{a}"])  # a name that a template would read
def test_a_run_that_is_being_sent_there_is_refused(tmp_path, kind, within):
    folder = untrained(tmp_path / within / "run", 1)
    folder.tracking.mkdir()
    with (
        lock(folder.tracking / ".fake.lock"),
        pytest.raises(ConfigError, match=r"Another process sends .*run to fake \(process \d+ on "),
    ):
        track((folder.path,), to=("fake",))
    assert kind.made == []


def test_what_is_no_run_or_no_tracker_is_refused(tmp_path, kind, capsys):
    with pytest.raises(ConfigError, match="Name a run folder and a tracker"):
        track((), to=("fake",))
    folder = untrained(tmp_path / "run", 1).path
    with pytest.raises(ConfigError, match="is not a run folder"):
        track((folder, tmp_path / "nothing"), to=("fake",))
    assert not RunDir(folder).tracking.exists(), "all is looked at before anything is sent"
    assert "--to" in refused(capsys, "track", folder, "--to", "nowhere")
