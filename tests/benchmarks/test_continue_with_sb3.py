"""PPO from a meta-learned start beside scratch: what is measured, counted and written."""

import json
import sys

import numpy as np
import pytest
import torch

import rlmaml
from benchmarks import continue_with_sb3
from runners.environments import make_single
from tests.helpers.runs import tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def threads():
    """The program sets torch's number of threads."""
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


def test_starts_are_compared(tmp_path, monkeypatch, capsys, threads):
    options = "--copies 2 --n-steps 6 --batch-size 12 --env-steps 60 --every 12 --episodes 2"
    options += " --seeds 0 --warm-up 12 --normalize all --goal 1 --out"
    run = tiny(tmp_path / "run", "--env.kwargs", '{"frame_skip": 1}', "--iterations", 1)
    monkeypatch.setattr(sys, "argv", ["", str(run.path), *options.split(), str(tmp_path)])
    continue_with_sb3.main()
    result = json.loads((tmp_path / "results.json").read_text())
    starts = ["adapted", "meta-learned", "scratch", "adapted + warm-up"]
    assert list(result["curves"]) == starts
    begins = [result["curves"][name][0][0]["env_steps"] for name in starts]
    assert begins == [18, 18, 0, 18]  # 3 episodes of 6 steps to adapt
    rows = {name: result["curves"][name][0] for name in starts}
    first, second = rows["adapted + warm-up"][:2]  # the policy rests
    assert all(first[kind] == second[kind] for kind in ("deterministic", "std"))
    assert rows["adapted"][1]["deterministic"] != rows["adapted"][0]["deterministic"]
    assert (tmp_path / "returns.png").read_bytes().startswith(b"\x89PNG")
    assert "| adapted + warm-up |" in capsys.readouterr().out

    env = make_single(run.read_config())
    env.reset(seed=0)
    policy = rlmaml.load(run.path).adapt(env, steps=1)
    data = policy.episodes[0]
    same = continue_with_sb3.standardized(policy, data.observations, data.mask)
    observations = data.observations[0].numpy()
    one, other = (each.predict(observations, deterministic=True)[0] for each in (policy, same))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
