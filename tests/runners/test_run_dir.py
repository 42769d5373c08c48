"""A run's folder: its configuration, what made it, and its metrics."""

import json

import pytest

from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from runners import io
from runners.run_dir import RunDir, read_config


def test_a_new_run_says_what_made_it_and_goes_on_saying_so(tmp_path):
    folder = RunDir(tmp_path / "run")
    with io.running(["train", "navigation"]):
        folder.create(TrainConfig(seed=3), init=tmp_path / "other")
    origin = folder.read_origin()
    assert origin.command == "rlmaml train navigation"
    assert origin.init == str(tmp_path / "other")
    with io.running(["train", "--resume", "run"]):
        folder.write_config(TrainConfig(seed=3, iterations=7))
    assert folder.read_origin()._replace(versions=None) == origin._replace(versions=None)
    assert folder.read_config() == TrainConfig(seed=3, iterations=7)
    with pytest.raises(ConfigError, match="exists already"):
        folder.create(TrainConfig())


def test_a_configuration_is_read_from_a_runs_file_or_alone(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TrainConfig(seed=4).to_dict()))
    assert read_config(path).seed == 4
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(path)
    with pytest.raises(ConfigError, match="not a run folder"):
        RunDir(tmp_path / "nothing").read_config()


def test_metrics_are_appended_and_the_last_attempt_counts(tmp_path):
    folder = RunDir(tmp_path)
    for attempt, iteration, value in ((1, 0, 1.0), (1, 1, 2.0), (2, 1, float("nan"))):
        folder.append_metrics({"iteration": iteration, "attempt": attempt, "value": value})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"iteration": 2, "att')  # killed in the middle of a line
    folder.append_metrics({"iteration": 2, "attempt": 3, "value": 5.0})
    lines = folder.read_metrics()
    assert [line["value"] for line in lines] == [1.0, None, 5.0]
    assert folder.attempts() == 3


@pytest.mark.parametrize("content", ["[1]", '{"config": 3}', '{"config": {"seed": "x"}}'])
def test_what_is_no_configuration_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"config\.json cannot be read: (it|its|seed) "):
        read_config(path)
    with pytest.raises(ConfigError, match=r"is a folder: name its file, .*config\.json"):
        read_config(tmp_path)


def test_a_torn_block_costs_its_line_alone(tmp_path):
    folder = RunDir(tmp_path)
    folder.append_metrics({"iteration": 0, "attempt": 1})
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"iteration": 1, \xff\xfe\x00')
    folder.append_metrics({"iteration": 1, "attempt": 2})
    assert [line["iteration"] for line in folder.read_metrics()] == [0, 1]
