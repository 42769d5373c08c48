"""Files of a run that are damaged, edited or missing: what is taken, or refused and how."""

from __future__ import annotations

import json
import random
import re
import shutil
import warnings
import zipfile

import pytest

import rlmaml
from rlmaml import checkpoint
from rlmaml.checkpoint import CheckpointError
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError, DamageWarning
from runners.run_dir import RunDir, read_config
from tests.helpers.runs import flip, refused, run, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return tiny(
        tmp_path_factory.mktemp("trained") / "run",
        "--iterations",
        "6",
        "--quiet",
        preset="navigation",
    )


def rewrite(folder, change, *, old=False):
    path = folder.path / "config.json"
    content = json.loads(path.read_text())
    change(content)
    if old:  # versions of before wrote no checksum
        content.pop("sha256", None)
    path.write_text(json.dumps(content, indent=1))


def read_or_refused(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)
        try:
            return folder.read_config()
        except ConfigError as problem:
            return problem


# The configuration.


@pytest.mark.parametrize("old", [False, True])
def test_a_flipped_bit_is_refused_or_changes_nothing(folder, old):
    rewrite(folder, lambda content: None, old=old)
    path = folder.path / "config.json"
    good, wanted, rng = path.read_bytes(), folder.read_config(), random.Random(int(old))
    outcomes = set()
    for _ in range(150):
        flipped = bytearray(good)
        flipped[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        found = read_or_refused(folder)
        if isinstance(found, ConfigError):
            assert "\n" not in str(found)
            outcomes.add("refused")
            continue
        may_change = {"validation_tasks", "iterations", "checkpoint_every", "log_every", "threads"}
        different = {name.partition(".")[0] for name in wanted.differing(found)}
        assert different <= (may_change if old else set())
        outcomes.add("the same")
    assert outcomes == {"refused", "the same"}


def test_a_flipped_bit_is_noticed_before_there_is_a_checkpoint(folder):
    shutil.rmtree(folder.checkpoints)
    rewrite(folder, lambda content: content["config"]["policy"].update(init_log_std=0.8))
    with pytest.raises(ConfigError, match=r"config\.json is damaged or was edited"):
        folder.read_config()


def put(name, value):
    def change(content):
        *groups, last = name.split(".")
        part = content["config"]
        for group in groups:
            part = part[group]
        part[last] = value

    return change


OTHER_TYPES = [
    put("outer", "trUst-region"),
    put("outer", ["optimizer"]),
    put("algorithm", 3),
    put("algorithm", ["maml"]),
    put("algorithm_settings", []),
    put("env", []),
    put("env.kwargs", [1]),
    put("env.id", 5),
    put("inner", "steps"),
    put("inner.steps", [1]),
    put("inner_advantages", None),
    put("inner.step_size", "0.1"),
    put("inner.step_size", 1e999),
    put("policy.hidden", 100),
    put("policy.hidden", {"0": 3}),
    put("tasks", 2.5),
    put("tasks", True),
    put("validation_tasks", 1_000_000_000),
    put("seed", 10**4000),
    put("chunk_size", {}),
    put("data", "Episodes"),
    put("objective", "adapted"),
    put("trust_region", 7),
    put("no_such_field", 7),
    lambda content: content.update(config=[1]),
    lambda content: content.update(init=[1]),
    lambda content: content.update(versions="1.0"),
    lambda content: content.update(other=1),
]


@pytest.mark.parametrize("change", OTHER_TYPES)
def test_a_value_of_another_type_is_refused(folder, change):
    rewrite(folder, change, old=True)
    with pytest.raises(ConfigError, match=r"config\.json") as refusal:
        _ = folder.read_config(), folder.read_origin()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"config": ' + b"[" * 100_000, "nested too deep"),
        (b'{"config": {}, "config": {}}', "it has 'config' twice"),
        (b'{"config": {"seed": 1, "seed": 2}}', "it has 'seed' twice"),
        (b'{"config": {"seed": ' + b"1" * 5000 + b"}}", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"", "cannot be read"),
        (b"3", "no JSON object"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path, content, message):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path / "config.json")


def test_a_command_names_what_was_edited_and_what_to_do(folder, capsys):
    rewrite(folder, put("inner.step_size", 0.3), old=True)
    for words in (["evaluate", folder.path], ["train", "--resume", folder.path]):
        said = refused(capsys, *words)
        assert re.search(r"was edited \(it has inner.step_size: \S+ -> 0.3\)", said)
        assert f"as `config` in {checkpoint.latest(folder.checkpoints)}" in said


def test_what_a_resumed_run_may_change_and_places_of_data_are_no_damage(folder):
    run("train", "--resume", folder.path, "--iterations", 7, "--checkpoint-every", 5, "--quiet")
    assert folder.read_config().iterations == 7
    rewrite(folder, put("iterations", 8), old=True)
    assert folder.read_config().iterations == 8


def test_a_page_is_made_and_says_what_was_edited(folder, capsys):
    run("evaluate", folder.path, "--tasks", 2, "--steps", 1, "--quiet")
    rewrite(folder, put("preset", "another"))
    run("report", folder.path, "--quiet", "--no-videos")
    assert "damaged or was edited (it has preset: navigation -> another)" in capsys.readouterr().err


# Metrics.

LINE = {"iteration": 1, "attempt": 1, "seconds": 2.0, "env_steps": 3, "return/pre": 3.0}
LINE["return/post"] = 4.0
DAMAGED_LINES = [
    b"\xff\xfe not UTF-8",
    b"[1, 2]",
    b"3",
    b'{"iteration": 7, "att',
    b'{"attempt": 1}',
    b'{"iteration": 1}',
    json.dumps({**LINE, "iteration": "1"}).encode(),
    json.dumps({**LINE, "iteration": True}).encode(),
    json.dumps({**LINE, "iteration": -1}).encode(),
    json.dumps({**LINE, "attempt": None}).encode(),
    json.dumps({**LINE, "return/post": "4"}).encode(),
    json.dumps({**LINE, "env_steps": [3]}).encode(),
    json.dumps({**LINE, "crc": 5}).encode(),
    json.dumps({**LINE, "env_steps": None}).encode(),
    json.dumps({**LINE, "return/post": 10**400}).encode(),
    json.dumps({**LINE, "iteration": 10**400}).encode(),
    json.dumps({**LINE, "kl": 10**400}).encode(),
    b'{"iteration": 1, "attempt": 1}',
    b'{"iteration": 1, "attempt": 1, "seconds": 2, "env_steps": 3, "return/pre": 1}',
    b'{"iteration": 1, "iteration": 2, "attempt": 1}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", DAMAGED_LINES)
def test_a_line_that_cannot_be_read_is_left_out_and_said(tmp_path, content):
    folder = RunDir(tmp_path)
    folder.append_metrics(LINE)
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(content + b"\n\n")
    folder.append_metrics({**LINE, "iteration": 2, "note": "a\u2028b", "nan": float("nan")})
    with pytest.warns(DamageWarning, match=r"Line 2 of .*metrics\.jsonl cannot be read"):
        lines = folder.read_metrics()
    assert lines == [LINE, {**LINE, "iteration": 2, "note": "a\u2028b", "nan": None}]


def test_a_flipped_digit_changes_no_figure(tmp_path):
    folder = RunDir(tmp_path)
    for iteration in range(3):
        folder.append_metrics({**LINE, "iteration": iteration})
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b"4.0", b"5.0", 2))
    with pytest.warns(DamageWarning, match=r"Lines 1, 2 of .* left out"):
        assert folder.read_metrics() == [{**LINE, "iteration": 2}]


def test_lines_of_earlier_versions_have_no_checksum(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps(LINE) + "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert RunDir(tmp_path).read_metrics() == [LINE]


def test_a_run_goes_on_over_damaged_lines_and_says_so_once(folder, capsys):
    path = folder.path / "metrics.jsonl"
    path.write_bytes(b"\xff\n[]\n" + path.read_bytes())
    run("train", "--resume", folder.path, "--iterations", 7, "--quiet")
    said = capsys.readouterr().err
    assert said.count("Lines 1, 2 of") == 1
    assert said.startswith("rlmaml: Lines 1, 2 of ")
    assert [line["iteration"] for line in folder.read_metrics()] == list(range(7))


# Checkpoints.

KINDS = ["meta.safetensors", "state.pt", "manifest.json"]


@pytest.mark.parametrize("name", KINDS)
def test_the_older_whole_checkpoint_is_taken_and_said(folder, name, capsys):
    whole, newest = (folder.checkpoints / f"{k:06d}" for k in (4, 6))
    flip(newest / name)
    with pytest.warns(DamageWarning, match=f"{newest.name}.* {whole} is used instead"):
        assert rlmaml.load(folder.path).iteration == 4
    assert rlmaml.load(folder.path, checkpoint="best").iteration in (2, 4)
    run("evaluate", folder.path, "--tasks", 2, "--steps", 1, "--quiet")
    assert f"{whole} is used instead" in capsys.readouterr().err
    run("train", "--resume", folder.path, "--quiet")
    assert rlmaml.load(folder.path).iteration == 6


def test_none_whole_is_said_in_a_line(folder, capsys):
    for place in folder.checkpoints.iterdir():
        flip(place / "state.pt")
    said = refused(capsys, "evaluate", folder.path)
    assert "No checkpoint in" in said
    assert "checksum" in said
    assert "emove" not in said


def test_a_named_one_that_is_damaged_is_refused(folder):
    place = folder.checkpoints / "000006"
    flip(place / "state.pt")
    with pytest.raises(CheckpointError, match="Name another checkpoint"):
        rlmaml.load(folder.path, checkpoint=place)


def seeds(place):
    for seed in range(3):
        (place / f"seed-{seed}" / "checkpoints" / "000180").mkdir(parents=True)
    return place


def home(place):
    (place / "Documents").mkdir(parents=True)
    return place


def file(place):
    place.write_text("hello")
    return place


def unstarted(place):
    RunDir(place).create(TrainConfig())
    return place


def inside(place):
    return seeds(place) / "seed-0" / "checkpoints"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (seeds, r"is no run, but holds 3 \(seed-0, seed-1, seed-2\): name one, such as .*seed-0"),
        (home, "is no run and no checkpoint"),
        (file, "is a file: name a run folder"),
        (unstarted, "holds no checkpoint yet: begin the run with --resume"),
        (inside, "holds the checkpoints of a run: name the run"),
        (lambda place: place / "typo", "There is no checkpoint .*typo, and no run: check the name"),
    ],
)
def test_what_is_no_checkpoint_is_said_to_be_what_it_is(tmp_path, make, message):
    with pytest.raises(CheckpointError, match=message) as refusal:
        rlmaml.load(make(tmp_path / "place"))
    assert "emove" not in str(refusal.value)


def test_what_is_no_run_is_said_to_be_what_it_is(folder, tmp_path, capsys):
    place = folder.checkpoints / "000006"
    assert f"name its run, {folder.path}" in refused(capsys, "evaluate", place)
    assert "holds 3 (seed-0" in refused(capsys, "evaluate", seeds(tmp_path / "dir"))
    assert "nothing of that name" in refused(capsys, "train", "--resume", tmp_path / "typo")


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(folder):
    place = folder.checkpoints / "000006"
    with zipfile.ZipFile(place / "state.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["sha256"]["state.pt"] = checkpoint._digest(place / "state.pt")
    (place / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="unpacks to 10,000,000 bytes"):
        checkpoint.load(place)
