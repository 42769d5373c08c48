"""Metrics that go to trackers while a run trains, which nothing that they do can stop."""

import importlib
import sys
import time

import pytest

from rlmaml import processes
from runners.command_line import cli
from runners.tracking import sending
from runners.tracking.trackers import TRACKERS
from tests.helpers.runs import assert_same_run, run, tiny
from tests.helpers.tracking import failing, hanging, line, numbers, remembering, untrained


@pytest.fixture(autouse=True)
def dropped(monkeypatch):
    """The names of trackers that were dropped in this test."""
    names = []
    monkeypatch.setattr(sending, "_dropped", names)
    return names


@pytest.fixture
def fakes(monkeypatch):
    """A function that puts trackers into the table, by name."""

    def put(**kinds):
        for name, kind in kinds.items():
            monkeypatch.setitem(TRACKERS, name, kind)
        return next(iter(kinds.values()))

    return put


def send(folder, iterations):
    """Send lines as a run does that writes them."""
    with sending.tracked(folder, folder.read_config()) as track:
        for iteration in iterations:
            folder.append_metrics(line(iteration))
            track(line(iteration))


def interrupted(track):
    track(line(0))
    raise KeyboardInterrupt


def test_each_line_is_sent_with_its_iteration_as_step_and_its_numbers(tmp_path, fakes, capsys):
    kind = fakes(fake=remembering())
    send(untrained(tmp_path / "nav" / "seed-3", 0, track=("fake", "fake")), range(4))
    assert kind.runs == {"run-0": [(k, numbers(k)) for k in range(4)]}
    assert kind.ends == [True]
    (made,) = kind.made
    assert made.name == "nav/seed-3"
    assert (made.config["preset"], made.config["seed"]) == ("navigation", 3)
    assert made.config["inner.steps"] == 1
    assert capsys.readouterr().err == "Tracked by fake: here/run-0\n"


def test_a_run_goes_on_with_the_same_run_of_the_tracker_and_sends_what_is_missing(tmp_path, fakes):
    kind = fakes(fake=remembering())
    folder = untrained(tmp_path / "run", 0, track=("fake",))
    send(folder, range(2))
    folder.append_metrics(line(2))  # while nothing tracked
    send(folder, (1, 2, 3))  # again from a checkpoint
    assert kind.runs == {"run-0": [(k, numbers(k)) for k in range(4)]}
    assert [run.first for run in kind.made] == [0, 2]


@pytest.mark.parametrize("problem", [OSError("no network"), SystemExit(3)])
@pytest.mark.parametrize("where", ["__init__", "write", "close"])
def test_a_tracker_that_fails_is_dropped_and_told_once(
    tmp_path, fakes, capsys, dropped, where, problem
):
    fakes(bad=failing(where, problem), good=(good := remembering()))
    folder = untrained(tmp_path / "run", 0, track=("bad", "good"))
    send(folder, range(4))
    told = [each for each in capsys.readouterr().err.splitlines() if "gets no more" in each]
    assert len(told) == 1
    assert f"{type(problem).__name__}: {problem}" in told[0]
    assert told[0].endswith(f"rlmaml track {folder.path} --to bad")
    assert dropped == ["bad"]
    assert len(good.runs["run-0"]) == len(folder.read_metrics()) == 4
    # What was not sent is sent when the run goes on, and nothing twice.
    kind = fakes(bad=remembering())
    send(folder, ())
    missing = {"__init__": range(4), "write": range(1, 4), "close": ()}[where]
    assert [k for lines in kind.runs.values() for k, _ in lines] == list(missing)


def test_a_tracker_that_hangs_is_left_at_the_end(tmp_path, fakes, capsys, dropped, monkeypatch):
    monkeypatch.setattr(sending, "SECONDS_TO_END", 0.1)
    kind = fakes(slow=hanging())
    began = time.monotonic()
    send(untrained(tmp_path / "run", 0, track=("slow",)), range(3))
    assert time.monotonic() - began < 5  # of the ten that an end has
    kind.let_go.set()
    assert "slow gets no more of this run: it has not taken everything" in capsys.readouterr().err
    assert dropped == ["slow"]


@pytest.mark.parametrize(
    ("limit", "value", "told"),
    [("PATIENCE", 0.05, "not answered for 0.05 s"), ("WAITING", 2, "2 lines behind")],
)
def test_a_tracker_that_does_not_keep_up_is_dropped_while_the_run_goes_on(
    tmp_path, fakes, capsys, monkeypatch, limit, value, told
):
    monkeypatch.setattr(sending, limit, value)
    kind = fakes(slow=hanging())
    folder = untrained(tmp_path / "run", 0, track=("slow",))
    began = time.monotonic()
    with sending.tracked(folder, folder.read_config()) as track:
        for iteration in range(8):
            track(line(iteration))
            time.sleep(0.02)
        assert told in capsys.readouterr().err
    assert time.monotonic() - began < 20
    kind.let_go.set()


def test_ctrl_c_hardly_waits_for_a_tracker(tmp_path, fakes):
    kind = fakes(slow=hanging())
    folder = untrained(tmp_path / "run", 0, track=("slow",))
    began = time.monotonic()
    sender = sending.tracked(folder, folder.read_config())
    with pytest.raises(KeyboardInterrupt), sender as track:
        interrupted(track)
    assert time.monotonic() - began < 20
    kind.let_go.set()


def test_a_run_that_stops_is_not_finished(tmp_path, fakes):
    kind = fakes(fake=remembering())
    folder = untrained(tmp_path / "run", 2, track=("fake",))
    with pytest.raises(SystemExit), sending.tracked(folder, folder.read_config()):
        raise SystemExit(130)
    assert kind.ends == [False]


def test_the_first_of_several_processes_tracks(tmp_path, fakes, monkeypatch):
    monkeypatch.setattr(processes, "is_first", lambda: False)
    kind = fakes(fake=remembering())
    send(untrained(tmp_path / "run", 0, track=("fake",)), range(2))
    assert kind.made == []


@pytest.mark.slow
def test_what_is_learned_and_written_is_the_same_to_the_bit(tmp_path, fakes):
    kind = fakes(fake=remembering(), bad=failing("write", OSError("no network")))
    plain = tiny(tmp_path / "plain", "--quiet", preset="navigation")
    options = ("--quiet", "--track", "fake", "bad", "--iterations", 3)
    folder = tiny(tmp_path / "run", *options, preset="navigation")
    run("train", "--resume", folder.path, "--iterations", 4, "--quiet")
    assert_same_run(plain, folder)
    (sent,) = kind.runs.values()
    lines = folder.read_metrics()
    assert [k for k, _ in sent] == [each["iteration"] for each in lines]
    for (_, got), written in zip(sent, lines, strict=True):
        assert got.items() <= written.items()
        assert {"env_steps", "return/post", "time/update"} <= got.keys()
    assert kind.ends == [True, True]


@pytest.mark.parametrize(
    ("problem", "code"), [(None, 0), (SystemExit(130), 130), (ValueError("x"), 1)]
)
def test_a_program_ends_at_once_where_a_tracker_was_dropped(monkeypatch, dropped, problem, code):
    class Ended(BaseException):
        pass

    def end(code):
        raise Ended(code)

    def command():
        if problem is not None:
            raise problem

    program = importlib.import_module("runners.__main__")
    del sys.modules["runners.__main__"]  # others test that nothing has imported it
    monkeypatch.setattr(sys, "argv", ["rlmaml", "train"])
    monkeypatch.setattr(cli, "main", command)
    monkeypatch.setattr(program.os, "_exit", end)
    dropped.append("fake")
    with pytest.raises(Ended) as ended:
        program.main()
    assert ended.value.args == (code,)
    dropped.clear()
    if problem is None:
        program.main()
