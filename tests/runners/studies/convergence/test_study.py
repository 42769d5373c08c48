"""`rlmaml theory`: its parts, files and refusals."""

import json
from functools import partial

import pytest

from rlmaml.errors import ConfigError
from runners.command_line.cli import main
from runners.studies.convergence import estimator, iterations, practice, stalling
from runners.studies.convergence.study import PARTS, theory

pytestmark = pytest.mark.slow


@pytest.fixture
def small(monkeypatch):
    """Smaller studies."""
    monkeypatch.setattr(estimator, "moments_study", partial(estimator.moments_study, (1, 2)))
    monkeypatch.setattr(iterations, "by_theorem", partial(iterations.by_theorem, 0.3))
    monkeypatch.setattr(practice, "SAMPLE_TASKS", 5)
    monkeypatch.setattr(stalling, "stalls", partial(stalling.stalls, 5))


@pytest.mark.pictures
@pytest.mark.usefixtures("small")
def test_parts_are_written_and_kept(tmp_path):
    first = theory(out=tmp_path, only=("practice",), practice_iterations=2)
    rest = theory(out=tmp_path, only=("moments", "iterations", "stalls"), steps=100)
    written = json.loads((tmp_path / "theory.json").read_text())
    assert set(written["seconds"]) == set(PARTS) < set(written)
    assert len(written["practice"]["curves"]) == 5
    assert written["moments"]["rows"][1]["inner"] == 2
    assert written["iterations"]["samples"]["batches"]["tasks"] > 20
    assert len(written["stalls"]) == 10
    for name in ("bias", "iterations", "stalls", "practice"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    assert rest.practice is None
    assert "HF-MAML, the rule" in str(first)
    for line in ("Slope of the bias", "By samples, ε = 0.3", "Quadratics   FO-MAML"):
        assert line in str(rest)


@pytest.mark.usefixtures("small")
def test_the_command(tmp_path, capsys):
    main(["theory", "--only", "stalls", "--steps", "100", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "Where ‖∇F‖ comes to rest" in printed
    assert f"Written: {tmp_path}/theory.json" in printed
    with pytest.raises(SystemExit) as refused:
        main(["theory", "--only", "nothing"])
    assert refused.value.code == 2
    assert "nothing" in capsys.readouterr().err


def test_a_cut_file_is_told_of_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(stalling, "stalls", lambda: pytest.fail("computed"))
    file = tmp_path / "theory.json"
    file.write_text('{"seconds": {"mom')
    with pytest.raises(ConfigError, match=r"theory\.json cannot be read"):
        theory(out=tmp_path, only=("stalls",))
    assert file.read_text() == '{"seconds": {"mom'


def test_bad_parts(tmp_path):
    with pytest.raises(ConfigError, match="no part 'all': use moments, iterations"):
        theory(out=tmp_path, only=("all",))
    with pytest.raises(ConfigError, match="--steps must be at least 100, got 5"):
        theory(out=tmp_path, steps=5)
