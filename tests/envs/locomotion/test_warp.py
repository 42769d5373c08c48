"""Robots stepped by MuJoCo Warp, beside MuJoCo's own engine; on a CPU, in float32."""

import gymnasium
import mujoco
import numpy as np
import pytest

from envs.locomotion import warp
from envs.locomotion.laws.maml_paper import PaperAnt, PaperHalfCheetah
from envs.locomotion.robots.ant import Ant
from envs.locomotion.robots.half_cheetah import HalfCheetah
from envs.locomotion.robots.hopper import Hopper
from envs.locomotion.robots.humanoid import Humanoid
from envs.locomotion.robots.swimmer import Swimmer
from envs.locomotion.robots.walker2d import Walker2d
from envs.locomotion.simulation import MuJoCoBatch
from tests.helpers.runs import run

M = 4
ALL = np.arange(M)


@pytest.fixture(scope="module", autouse=True)
def _kernels():
    """Compiled once a machine, in a minute."""
    pytest.importorskip("mujoco_warp", reason="needs the extra warp")


class _Round:
    """Friction by round cones, which look the same however they are turned."""

    def model(self):
        model = super().model()
        model.opt.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        return model


class RoundAnt(_Round, Ant):
    pass


class RoundPaperAnt(_Round, PaperAnt):
    pass


FLAT = [HalfCheetah(), Hopper(), Walker2d(), Swimmer(), PaperHalfCheetah(), Humanoid()]
SEEING = RoundAnt(include_cfrc_ext_in_observation=True)


def both(robot, count=M):
    return warp.WarpBatch(robot, count, device="cpu"), MuJoCoBatch(robot, count, 1)


def walked(simulations, steps, seed=0, compare=lambda mine, other: None):
    """Step simulations alike, each step from the states of the last one of them."""
    rng = np.random.default_rng(seed)
    model = simulations[-1].model
    qpos = model.qpos0 + rng.uniform(-0.05, 0.05, (M, model.nq))
    qvel = rng.normal(0, 0.1, (M, model.nv))
    for _ in range(steps):
        controls = rng.uniform(-0.5, 0.5, (M, model.nu))
        for each in simulations:
            each.reset(ALL, qpos, qvel)
            each.step(slice(None), controls)
        compare(*(each.state(slice(None)) for each in simulations))
        state = simulations[-1].state(slice(None))
        qpos, qvel = state.qpos.copy(), state.qvel.copy()


@pytest.mark.slow
@pytest.mark.parametrize(
    "robot", [*FLAT, SEEING, RoundPaperAnt()], ids=lambda robot: type(robot).__name__
)
def test_a_step_is_that_of_mujoco_but_for_rounding(robot):
    def compare(mine, other):
        np.testing.assert_allclose(mine.qpos, other.qpos, atol=1e-4)
        np.testing.assert_allclose(mine.qvel, other.qvel, atol=1e-3, rtol=1e-4)
        assert mine.fields.keys() == other.fields.keys() == set(robot.reads)
        for name in robot.reads:
            size = max(1.0, np.abs(other.fields[name]).max())
            np.testing.assert_allclose(mine.fields[name], other.fields[name], atol=1e-3 * size)

    walked(both(robot), 30, compare=compare)


@pytest.mark.slow
def test_only_the_direction_of_a_pyramid_of_friction_is_another():
    """Of capsules that stand steeply, whose normal forces are the same and tangents turned."""
    import mujoco_warp

    robot, differed = Ant(), 0
    model = robot.model()
    data, engine = mujoco.MjData(model), mujoco_warp.put_model(model)
    rng = np.random.default_rng(0)
    for _ in range(60):
        data.ctrl[:] = rng.uniform(-1, 1, model.nu)
        mujoco.mj_step(model, data)
        mujoco.mj_forward(model, data)
        other = mujoco_warp.put_data(model, data)
        mujoco_warp.forward(engine, other)
        count = data.ncon
        assert int(other.nacon.numpy()[0]) == count
        contacts = other.contact
        np.testing.assert_allclose(contacts.dist.numpy()[:count], data.contact.dist, atol=1e-6)
        frames = contacts.frame.numpy()[:count].reshape(count, 3, 3)
        expected = data.contact.frame.reshape(count, 3, 3)
        np.testing.assert_allclose(frames[:, 0], expected[:, 0], atol=1e-6)
        for mine, theirs, pair in zip(frames, expected, data.contact.geom, strict=True):
            axis = data.geom_xmat[pair[1]].reshape(3, 3)[:, 2]
            steep = abs(axis @ theirs[0]) > 0.75**0.5  # more than 60 degrees
            same = np.allclose(mine, theirs, atol=1e-5)
            assert same or steep
            differed += not same
    assert differed


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["rlmaml/HalfCheetahDir-v0", "rlmaml/AntDir-v0"])
def test_episodes_are_alike_on_average(env_id):
    """However far apart two of them are in the end: returns, ways and falls of forty."""
    count, found = 40, []
    for simulate in (warp.WarpBatch, MuJoCoBatch):
        vector = make(env_id, count, simulate=simulate)
        vector.set_tasks(np.zeros(count, dtype=int))
        vector.reset(seed=0)
        rng = np.random.default_rng(0)
        low, high = vector.single_action_space.low, vector.single_action_space.high
        returns, lived = np.zeros(count), np.zeros(count)
        for _ in range(100):
            _, rewards, terminated, *_ = vector.step(
                rng.uniform(low, high, (count, len(low))).astype(np.float32)
            )
            returns += rewards
            lived += ~terminated
        found.append(np.stack([returns, lived]))
        vector.close()
    (mine, other), spread = found, np.std(found, axis=2)
    error = np.sqrt((spread**2).sum(0) / count)
    assert (np.abs(mine.mean(1) - other.mean(1)) <= 3 * error + 1e-9).all()
    assert (np.abs(mine - other).max(1)[:1] > 1e-6).all()  # two engines, not one


def test_simulations_do_not_depend_on_the_others():
    robot = HalfCheetah()
    whole, part = (warp.WarpBatch(robot, M, device="cpu") for _ in range(2))
    rng = np.random.default_rng(0)
    qpos = robot.model().qpos0 + rng.uniform(-0.1, 0.1, (M, 9))
    qvel = rng.normal(0, 0.1, (M, 9))
    for each in (whole, part):
        each.reset(ALL, qpos, qvel)
    actions = rng.uniform(-1, 1, (40, M, 6))
    stopped = None
    for t, action in enumerate(actions):
        whole.step(slice(None), action)
        if t < 20:
            part.step(slice(None), action)
        else:
            part.step(np.array([0, 2]), action[[0, 2]])
        if t == 19:
            stopped = part.state(slice(None))
        if t == 30:
            part.reset(np.array([3]), qpos[3:], qvel[3:])
    mine, theirs = part.state(slice(None)), whole.state(slice(None))
    np.testing.assert_array_equal(mine.qpos[[0, 2]], theirs.qpos[[0, 2]])
    np.testing.assert_array_equal(mine.qvel[[0, 2]], theirs.qvel[[0, 2]])
    np.testing.assert_array_equal(mine.qpos[1], stopped.qpos[1])
    np.testing.assert_array_equal(mine.qvel[1], stopped.qvel[1])
    np.testing.assert_array_equal(mine.qpos[3], np.float32(qpos[3]))


def make(env_id="rlmaml/HalfCheetahVel-v0", count=3, **parameters):
    simulate = parameters.pop("simulate", None) or warp.WarpBatch
    return gymnasium.make_vec(
        env_id, num_envs=count, simulate=simulate, autoreset_mode="Disabled", **parameters
    )


def test_a_simulation_that_blows_up_is_flagged_and_contained():
    vector, control = make(), make()
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 6))
    for each in (vector, control):
        each.reset(seed=0)
        each.step(actions)
    vector.simulation._write("qvel", np.array([1]), np.full(9, np.nan))
    observations, *_, info = vector.step(actions)
    expected = control.step(actions)[0]
    assert info["diverged"].tolist() == [False, True, False]
    np.testing.assert_array_equal(observations[[0, 2]], expected[[0, 2]])
    vector.reset(seed=0, options={"reset_mask": info["diverged"]})
    assert not vector.step(actions)[-1]["diverged"].any()


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["HalfCheetah", "Hopper"])
def test_worlds_have_masses_friction_and_damping_of_their_own(robot):
    """And what follows from them: a step is that of MuJoCo in the same worlds."""
    made = [
        make(f"rlmaml/{robot}Params-v0", M, simulate=simulate)
        for simulate in (warp.WarpBatch, MuJoCoBatch)
    ]
    tasks = made[0].sample_tasks(M, np.random.default_rng(0))
    for each in made:
        each.set_tasks(tasks)

    def compare(mine, other):
        np.testing.assert_allclose(mine.qvel, other.qvel, atol=1e-3, rtol=1e-4)

    walked([each.simulation for each in made], 15, compare=compare)
    moved = made[1].simulation.state(slice(None)).qvel
    assert np.abs(np.diff(moved, axis=0)).max() > 1e-2
    for each in made:  # other worlds, in the same arrays
        each.set_tasks(tasks[::-1])
    walked([each.simulation for each in made], 3, compare=compare)


def test_too_little_room_for_contacts_is_an_error():
    robot = HalfCheetah()
    small = warp.WarpBatch(robot, 1, device="cpu", contacts=1, constraints=2)
    qpos = robot.model().qpos0.copy()[None]
    qpos[:, 1] = -0.3  # well in the ground
    small.reset(np.array([0]), qpos, np.zeros((1, 9)))
    with pytest.raises(warp.WarpBufferError, match="Make more"):
        small.step(slice(None), np.zeros((1, 6)))


def test_room_that_one_that_blew_up_takes_is_none_of_the_others_concern():
    """Bits of what overflowed in a step are of that step, and of simulations that go on."""
    import mujoco_warp

    vector = make()
    actions = np.zeros((3, 6))
    vector.reset(seed=0)
    vector.step(actions)
    simulation = vector.simulation
    step = simulation._engine.step

    class Overflowing:
        OverflowType = mujoco_warp.OverflowType

        def __getattr__(self, name):
            return getattr(mujoco_warp, name)

        def step(self, model, data):
            step(model, data)
            data.overflow.assign(np.array([0, int(self.OverflowType.NEFC), 0], dtype=np.int32))

    simulation._engine = Overflowing()
    simulation._write("qvel", np.array([1]), np.full(9, np.nan))
    assert vector.step(actions)[-1]["diverged"].tolist() == [False, True, False]
    simulation._engine = mujoco_warp
    assert vector.step(actions)[-1]["diverged"].tolist() == [False, True, False]


def test_nothing_is_said_of_kernels(capfd):
    warp.WarpBatch(Swimmer(), 1, device="cpu").step(slice(None), np.zeros((1, 2)))
    assert capfd.readouterr().out == ""


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(warp.WarpUnavailableError, match="no device 'cuda:9'"):
        warp.WarpBatch(HalfCheetah(), 1, device="cuda:9")


@pytest.mark.slow
def test_a_run_trains_on_it(tmp_path):
    small = ("--tasks", 2, "--episodes", 3, "--horizon", 5, "--iterations", 2, "--quiet")
    options = ("--env.vectorization", "warp", "--processes", 1)
    run("train", "half-cheetah-dir", "--out", tmp_path / "run", *small, *options)
    run("evaluate", tmp_path / "run", "--tasks", 2, "--quiet")
