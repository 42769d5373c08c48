"""Each tracker for real: what was written is read back and compared with metrics.jsonl."""

import json
import os
import struct
import sys

import pytest

from runners.tracking.base import numbers
from runners.tracking.command import track
from runners.tracking.trackers import TRACKERS
from tests.helpers.processes import run_python
from tests.helpers.runs import TINY, refused
from tests.helpers.tracking import line, untrained


@pytest.fixture
def sent(tmp_path):
    """A function that sends a run to a tracker, in two parts and once more, by its name."""

    def send(name):
        folder = untrained(tmp_path / "run", 2, **{"env.kwargs": {"size": 2}})
        told = [track((folder.path,), to=(name,))]
        for iteration in (2, 3):
            folder.append_metrics(line(iteration))
        told += [track((folder.path,), to=(name,)) for _ in range(2)]
        assert [int(each.split(": ")[1].split()[0]) for each in told] == [2, 2, 0]
        return folder

    return send


def written(folder):
    """What trackers are to have: by step, the numbers of metrics.jsonl."""
    return {each["iteration"]: numbers(each) for each in folder.read_metrics()}


def test_tensorboard(sent):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = sent("tensorboard")
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    got = {}
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            assert name not in got.setdefault(event.step, {}), "once"
            got[event.step][name] = event.value
    assert got == {k: pytest.approx(values, rel=1e-7) for k, values in written(folder).items()}
    (session,) = (
        content.session_start_info.hparams
        for content in _hparams(events)
        if content.HasField("session_start_info")
    )
    assert session["preset"].string_value == "navigation"
    assert session["seed"].number_value == 3
    assert session["env.kwargs"].string_value == "{'size': 2}"


def _hparams(events):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    return [HParamsPluginData.FromString(x) for x in events.PluginTagToContent("hparams").values()]


def test_events_that_are_written_again_count_once(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = untrained(tmp_path / "run", 4)
    track((folder.path,), to=("tensorboard",))
    note = folder.tracking / "tensorboard.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "last": 1}))  # killed before it
    track((folder.path,), to=("tensorboard",))
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("return/post")] == [0, 1, 2, 3]


def test_mlflow(sent, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = sent("mlflow")
    client = mlflow.MlflowClient((folder.path / "mlruns").as_uri())
    (experiment,) = client.search_experiments(filter_string="name = 'rlmaml'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert (run.data.params["preset"], run.data.params["seed"]) == ("navigation", "3")
    got = {}
    for name in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, name):
            assert name not in got.setdefault(metric.step, {}), "once"
            got[metric.step][name] = metric.value
    assert got == {
        k: {name.replace("/", "."): value for name, value in values.items()}
        for k, values in written(folder).items()
    }


def test_mlflow_has_runs_where_its_own_variable_says(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    uri = (tmp_path / "shared").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    folders = [untrained(tmp_path / name, 1).path for name in "ab"]
    track(folders, to=("mlflow",))
    experiment = mlflow.MlflowClient(uri).get_experiment_by_name("mine")
    assert len(mlflow.MlflowClient(uri).search_runs([experiment.experiment_id])) == 2


_TRACKIO = """
import json
from trackio import Api
from trackio.sqlite_storage import SQLiteStorage
(run,) = Api().runs("rlmaml")
logs = SQLiteStorage.get_logs("rlmaml", run.name)
print(json.dumps([run.config, logs]))
"""


def test_trackio(sent, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    for name in [name for name in sys.modules if name.partition(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, name)
    pytest.importorskip("trackio")
    folder = sent("trackio")
    config, logs = json.loads(run_python(_TRACKIO, tmp_path).stdout)
    assert (config["preset"], config["seed"], config["env.kwargs"]) == (
        "navigation",
        3,
        {"size": 2},
    )
    got = {each.pop("step"): each for each in logs if each.pop("timestamp")}
    assert got == written(folder)
    assert len(logs) == 4, "once"


def test_wandb_offline(sent, monkeypatch):
    pytest.importorskip("wandb")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")  # or a developer's own key would be used
    folder = sent("wandb")
    records = [each for path in _wandb_files(folder) for each in _records(path)]
    runs = [each.run for each in records if each.HasField("run")]
    assert len({run.run_id for run in runs}) == 1, "each part is of the same run"
    config = {each.key: json.loads(each.value_json) for each in runs[0].config.update}
    assert (config["preset"], config["seed"]) == ("navigation", 3)
    lines = [each.history for each in records if each.HasField("history")]
    got = {}
    for each in lines:
        items = {"/".join(x.nested_key) or x.key: json.loads(x.value_json) for x in each.item}
        got[each.step.num] = {k: v for k, v in items.items() if not k.startswith("_")}
    assert got == written(folder)
    assert len(lines) == 4, "once"


def _wandb_files(folder):
    return sorted(folder.path.glob("wandb/offline-run-*/*.wandb"))


def _records(path):
    """The records of a file in LevelDB's format of logs, whose blocks have 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if (left := 2**15 - place % 2**15) < 7:
            place += left
            continue
        size, kind = struct.unpack_from("<HB", content, place + 4)
        place += 7 + size
        parts += content[place - size : place]
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def test_a_package_that_is_missing_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, capsys
):
    for name, kind in TRACKERS.items():
        monkeypatch.setitem(sys.modules, kind.module, None)
        place = tmp_path / "run"
        words = ("train", "navigation", *TINY, "--out", place, "--track", name)
        assert f"pip install 'rlmaml[{name}]'" in refused(capsys, *words)
        assert not place.exists()
        folder = untrained(tmp_path / name, 1)
        assert f"pip install 'rlmaml[{name}]'" in refused(
            capsys, "track", folder.path, "--to", name
        )
        assert not folder.tracking.exists()


def test_a_package_that_is_broken_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_package.py").write_text("raise RuntimeError('no good')")
    monkeypatch.setattr(TRACKERS["wandb"], "module", "broken_package")
    words = ("train", "navigation", *TINY, "--out", tmp_path / "run", "--track", "wandb")
    assert "RuntimeError('no good')" in refused(capsys, *words)


def test_a_tracker_that_there_is_not_is_refused(tmp_path, capsys):
    words = ("train", "navigation", *TINY, "--out", tmp_path / "run", "--track", "nowhere")
    assert "Unknown tracker 'nowhere': use tensorboard, wandb" in refused(capsys, *words)
    assert not (tmp_path / "run").exists()
    folder = untrained(tmp_path / "old", 1, track=("nowhere",))
    assert "Unknown tracker" in refused(capsys, "train", "--resume", folder.path)
