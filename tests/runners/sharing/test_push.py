"""Runs that are pushed: to a folder, and to a hub on this machine in the words of the real one."""

import importlib
import json
import re
from pathlib import Path

import pytest
import torch

import rlmaml
from rlmaml import checkpoint, sources, tree
from rlmaml.errors import ConfigError
from runners.run_dir import RunDir
from runners.sharing.push import push
from tests.helpers.hub import Hub, serving
from tests.helpers.runs import evaluated, refused
from tests.helpers.runs import run as command
from tests.runners.sharing.conftest import DATA

pytestmark = pytest.mark.slow


def files(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in found)


SMALL = [
    "README.md",
    "checkpoints/000002/manifest.json",
    "checkpoints/000002/meta.safetensors",
    "checkpoints/000002/state.safetensors",
    "config.json",
    "evaluation.json",
]


def test_a_folder_holds_what_others_need(run, tmp_path):
    pushed = push(run.path, to_folder=tmp_path / "out")
    plots = [f"plots/{name}.png" for name in ("adaptation", "learning", "tasks")]
    assert files(tmp_path / "out") == sorted([*SMALL, "metrics.jsonl", *plots, "replay.gif"])
    assert pushed.bytes == sum(
        (tmp_path / "out" / name).stat().st_size for name in files(tmp_path / "out")
    )
    assert not list(run.path.rglob("README.md"))
    small = push(run.path, to_folder=tmp_path / "small", small=True)
    assert files(tmp_path / "small") == SMALL
    assert small.bytes < pushed.bytes
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_what_was_learned_is_the_same(run, tmp_path):
    push(run.path, to_folder=tmp_path / "out")
    mine, theirs = rlmaml.load(run.path), rlmaml.load(tmp_path / "out")
    assert all(map(torch.equal, tree.leaves(mine.meta), tree.leaves(theirs.meta)))
    assert theirs._normalizer is not None
    for name, value in theirs._normalizer.items():
        assert torch.equal(value, mine._normalizer[name])
    assert (mine.config, mine.iteration) == (theirs.config, theirs.iteration)
    before = json.loads(run.evaluation.read_text())["per_task"]
    after = evaluated(RunDir(tmp_path / "out"), 3, episodes=4, steps=2)["per_task"]
    for one, other in zip(before, after, strict=True):
        assert one["return"] == pytest.approx(other["return"], rel=1e-4)
    assert RunDir(tmp_path / "out").read_metrics() == run.read_metrics()


@pytest.mark.slow
def test_training_starts_from_it_and_does_not_go_on(run, tmp_path, capsys):
    push(run.path, to_folder=tmp_path / "out")
    said = refused(capsys, "train", "--resume", tmp_path / "out", "--iterations", 3)
    assert "without the state of its outer step" in said
    config = tmp_path / "out" / "config.json"
    words = ("--config", config, "--init", tmp_path / "out", "--out", tmp_path / "more")
    command("train", *words, "--iterations", 1, "--quiet")
    assert RunDir(tmp_path / "more").read_origin().init == str(tmp_path / "out")


def test_the_best_is_pushed_alone(run, tmp_path):
    """It is not the newest, of which the evaluation is."""
    for place in run.checkpoints.iterdir():
        names = (checkpoint.META, checkpoint.STATE)
        config = run.read_config().to_dict()
        checkpoint.write_manifest(place, names, int(place.name), config, best=1)
    push(run.path, to_folder=tmp_path / "out", checkpoint=Path("best"))
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["000001"]
    assert rlmaml.load(tmp_path / "out", checkpoint="best").iteration == 1
    assert "was not evaluated" in (tmp_path / "out" / "README.md").read_text()
    assert not (tmp_path / "out" / "evaluation.json").exists()
    push(run.path, to_folder=tmp_path / "newest")
    with pytest.raises(ConfigError, match=r"no best checkpoint: use its newest\.$"):
        rlmaml.load(tmp_path / "newest", checkpoint="best")


def test_no_folder_of_this_machine_is_named(run, tmp_path):
    """Absolute paths in the commands, the configuration and what it started from."""
    config, origin = run.read_config(), run.read_origin()
    kwargs = {
        "root": str(tmp_path / "data"),
        "also": f"as {tmp_path}/data, and/or {{{tmp_path}/b}}",
    }
    config = config.changed({"env.kwargs": kwargs})
    words = f"rlmaml train navigation --out {tmp_path}/a --env.kwargs " + json.dumps(
        json.dumps({"root": str(tmp_path / "data")})
    )
    origin = origin._replace(command=words, init=str(tmp_path / "x"), launcher="a host")
    run.write(config, origin)
    for place in run.checkpoints.iterdir():
        names = (checkpoint.META, checkpoint.STATE)
        checkpoint.write_manifest(place, names, int(place.name), config.to_dict(), None)
    record = json.loads(run.evaluation.read_text())
    record["command"] = f"rlmaml evaluate {tmp_path}/a --quiet"
    record["note"] = f"file://{tmp_path}/mine, see https://example.org/a/b"
    run.evaluation.write_text(json.dumps(record))
    run.append_metrics({**run.read_metrics()[-1], "mine": str(tmp_path), "other": 1.5})
    push(run.path, to_folder=tmp_path / "out")
    texts = {name: (tmp_path / "out" / name).read_bytes() for name in files(tmp_path / "out")}
    for name, text in texts.items():
        assert str(tmp_path).encode() not in text, name
    assert b"runs/a" in texts["README.md"]
    assert b"a host" not in texts["config.json"]
    kwargs = RunDir(tmp_path / "out").read_config().env.kwargs
    assert kwargs == {"root": "data", "also": "as data, and/or {b}"}
    assert b"mine, see https://example.org/a/b" in texts["evaluation.json"]
    assert RunDir(tmp_path / "out").read_metrics()[-1]["other"] == 1.5


def test_a_link_that_leads_out_is_not_followed(run, tmp_path):
    secret = tmp_path / "secret"
    (run.path / "videos" / "x.gif").write_bytes(b"newer")
    names = ("plots/learning.png", "videos/x.gif", "config.json", "evaluation.json")
    of_checkpoint = (checkpoint.META, checkpoint.STATE, checkpoint.MANIFEST)
    places = (*names, "metrics.jsonl", *(f"checkpoints/000002/{name}" for name in of_checkpoint))
    for path in (run.path / name for name in places):
        path.symlink_to(path.rename(secret))
        with pytest.raises(ConfigError, match="a link that leads out of the run"):
            push(run.path, to_folder=tmp_path / "out")
        secret.rename(path)
        assert not (tmp_path / "out").exists()
    push(run.path, to_folder=tmp_path / "out")


def test_the_page_says_what_it_is(run, tmp_path):
    push(run.path, to_folder=tmp_path / "out", license="apache-2.0")
    text = (tmp_path / "out" / "README.md").read_text()
    head = dict(re.findall(r"^([\w-]+): (.*)$", text.split("---")[1], re.M))
    head = {name: json.loads(value) for name, value in head.items()}
    assert head["license"] == "apache-2.0"
    assert head["library_name"] == "rlmaml"
    assert head["pipeline_tag"] == "reinforcement-learning"
    assert {"meta-learning", "maml", "navigation"} <= set(head["tags"])
    result = json.loads(run.evaluation.read_text())
    measured = head["model-index"][0]["results"][0]["metrics"]
    assert [each["value"] for each in measured] == pytest.approx(result["mean"], abs=1e-4)
    assert "| all tasks |" in text
    assert "![Task 0, 1, before adaptation (left) and after 1 step (right).](replay.gif)" in text
    assert "    rlmaml train navigation --out runs/theirs\n" in text
    namespace = {}
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    assert 'rlmaml.load("out")' in code
    exec(code, namespace)
    assert namespace["action"].shape == (2,)


def test_no_name_of_an_argument_is_code_on_the_page(run, tmp_path):
    name = "a=1); open('taken', 'w')  #"
    config = run.read_config().changed({"env.kwargs": {name: 1, "class": 2, "mine": 3}})
    run.write(config, run.read_origin())
    for place in run.checkpoints.iterdir():
        names = (checkpoint.META, checkpoint.STATE)
        checkpoint.write_manifest(place, names, int(place.name), config.to_dict(), None)
    push(run.path, to_folder=tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert f"**{ {name: 1}!r}, **{ {'class': 2}!r}, mine=3)" in text


def test_a_run_that_was_not_evaluated_says_so(run, tmp_path):
    run.evaluation.unlink()
    push(run.path, to_folder=tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "was not evaluated" in text
    assert "model-index" not in text
    assert "adaptation.png" not in text


OTHER = DATA / "examples" / "checkpoints" / "000002"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Give one place"),
        (("me/run", "--to-folder", "out"), "Give one place"),
        (("run",), "is called USER/NAME, got 'run'"),
        (("me/../run",), "is called USER/NAME"),
        (("--to-folder", "theirs"), "exists already"),
        (("--to-folder", "out", "--private"), "leave it out"),
        (("--to-folder", "out", "--checkpoint", "none"), "no checkpoint none"),
        (("--to-folder", "out", "--checkpoint", OTHER), f"{OTHER} is no checkpoint of"),
        (("--to-folder", "out", "--license", ""), "--license is empty"),
        (("--to-folder", "/proc/out"), "Cannot write /proc/out: "),
    ],
)
def test_bad_input_is_refused(run, tmp_path, capsys, words, said):
    assert said in refused(capsys, "push", run.path, *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["theirs"]


# The hub's library.


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub, and the library made to ask it and to keep nothing elsewhere."""
    constants = pytest.importorskip("huggingface_hub.constants")
    hub = Hub()
    with serving(hub) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        path = template.removeprefix("https://huggingface.co")
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + path)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", hub.token)
        yield hub


def test_pushed_and_loaded(run, tmp_path, hub, capsys):
    said = str(push(run.path, "me/run"))
    assert "/me/run (the checkpoint after 2 meta-iterations" in said
    assert "rlmaml.load('hf://me/run')" in said
    assert set(SMALL) < set(hub.files("me/run", "main"))
    text = hub.files("me/run", "main")["README.md"].decode()
    assert 'rlmaml.load("hf://me/run")' in text
    assert "rlmaml[hub]" in text
    learner = rlmaml.load("hf://me/run")
    assert learner.path.is_relative_to(tmp_path / "cache")
    assert all(map(torch.equal, tree.leaves(learner.meta), tree.leaves(rlmaml.load(run.path).meta)))
    fetched = {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path}
    assert not any(name.endswith((".md", ".png", ".gif", ".pt")) for name in fetched)


def test_what_would_be_lost_or_seen_is_not_pushed(run, hub):
    hub.commit("me/public", {".gitattributes": b""})
    with pytest.raises(ConfigError, match="me/public exists and is public"):
        push(run.path, "me/public", private=True)
    hub.commit("me/other", {"README.md": b"mine", "config.json": b"{}", "checkpoints/x": b""})
    with pytest.raises(ConfigError, match="me/other holds files and no run of rlmaml"):
        push(run.path, "me/other")
    assert [len(commits) for commits in hub.repositories.values()] == [1, 1]
    push(run.path, "me/public")
    assert "config.json" in hub.files("me/public", "main")


def test_a_second_push_takes_the_place_of_the_first(run, hub):
    push(run.path, "me/run", private=True)
    hub.commit("me/run", {**hub.files("me/run", "main"), "mine.txt": b"", "plots/x.png": b""})
    push(run.path, "me/run", small=True)
    assert sorted(hub.files("me/run", "main")) == sorted([*SMALL, "mine.txt"])
    assert hub.private == {"me/run"}


@pytest.mark.slow
def test_commands_work_on_a_copy(run, tmp_path, hub, capsys):
    push(run.path, "me/run")
    sha = hub.sha("me/run", "main")
    few = ("--tasks", 2, "--episodes", 2, "--steps", 1, "--quiet")
    command("evaluate", "hf://me/run", *few)
    copy = tmp_path / "runs" / "hub" / "me" / f"run@{sha[:8]}"
    assert (copy / "evaluation.csv").exists()
    assert "is copied to runs/hub/me/run@" in capsys.readouterr().err
    command("evaluate", "hf://me/run@1", *few)  # the same revision
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
    cached = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert not any(path.suffix in (".csv", ".png") for path in cached)
    command("export", "hf://me/run", tmp_path / "policy.pt2", "--to", "torch")
    command("report", "hf://me/run", "--no-videos", "--quiet")
    assert (copy / "report.html").exists()
    words = ("--init", "hf://me/run", "--config", copy / "config.json", "--iterations", 1)
    command("train", *words, "--out", tmp_path / "more", "--quiet")
    assert RunDir(tmp_path / "more").read_origin().init == "hf://me/run"
    said = refused(capsys, "train", "--resume", "hf://me/run")
    assert "hf://me/run was shared without the state" in said
    next(copy.glob("checkpoints/*/manifest.json")).write_text("{}")
    assert "is no copy of what hf://me/run is" in refused(capsys, "evaluate", "hf://me/run", *few)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf://me/none", "no such repository, or you may not see it"),
        ("hf://me/run@none", "no such revision"),
        ("hf://me/other", "holds no run that `rlmaml push` has written"),
        ("hf://me", "hf://USER/NAME"),
        ("hf://me/../run", "hf://USER/NAME"),
        ("hf://me/run@../x", "hf://USER/NAME"),
    ],
)
def test_what_cannot_be_had_is_told(run, hub, name, said):
    hub.commit("me/run", {"config.json": b"{}"})
    hub.commit("me/other", {"README.md": b"", "state.pt": b"x"})
    with pytest.raises(ConfigError, match=re.escape(said)):
        rlmaml.load(name)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("checkpoints/../manifest.json", "cannot be had"),
        ("checkpoints/1/../../../../../../out/manifest.json", "holds no run"),
    ],
)
def test_a_hub_that_names_places_elsewhere_writes_nothing_there(tmp_path, hub, place, said):
    hub.commit("me/run", {"config.json": b"{}", place: b"{}"})
    with pytest.raises(ConfigError, match=said):
        rlmaml.load("hf://me/run")
    assert not list(tmp_path.rglob("out"))
    assert not list(tmp_path.rglob("manifest.json"))


def test_no_more_is_downloaded_than_is_read(run, hub, monkeypatch):
    push(run.path, "me/run", small=True)
    pushed = hub.files("me/run", "main")
    others = ("x/config.json", "checkpoints/a/b/manifest.json", "checkpoints/[0-9]/b/c.safetensors")
    hub.commit("me/run", {**pushed, **dict.fromkeys(others, b"x" * 10**6)})
    assert rlmaml.load("hf://me/run").iteration == 2
    fetched = {path.partition("/resolve/")[2].partition("/")[2] for path in hub.asked}
    assert fetched - {""} == set(SMALL) - {"README.md"}
    monkeypatch.setattr(sources, "LARGEST", 1000)
    with pytest.raises(ConfigError, match=r"holds 0\.0 GB .*, and at most 1e-06 GB is downloaded"):
        rlmaml.load("hf://me/run")


def test_what_was_downloaded_is_there_without_a_network(run, hub, monkeypatch):
    push(run.path, "me/run", small=True)
    path = rlmaml.load("hf://me/run").path
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert rlmaml.load("hf://me/run").path == path


def test_who_is_not_logged_in_is_told(run, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "another")
    with pytest.raises(ConfigError, match=r"not allowed \(403\): log in"):
        push(run.path, "me/run")
    monkeypatch.delenv("HF_TOKEN")
    asked = len(hub.asked)
    with pytest.raises(ConfigError, match="Nobody is logged in who could push to me/run"):
        push(run.path, "me/run")
    assert len(hub.asked) == asked
    assert hub.repositories == {}
