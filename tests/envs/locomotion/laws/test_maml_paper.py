"""The MAML paper's environments: reward, first state and observation, worked out by hand."""

from __future__ import annotations

import gymnasium
import mujoco
import numpy as np
import pytest

from envs.locomotion import mujoco_utils
from envs.locomotion.laws.maml_paper import PaperAnt, PaperHalfCheetah
from envs.locomotion.robots.base import State
from envs.locomotion.step import judge
from envs.locomotion.tasks import Direction, GoalVelocity

CHEETAH, ANT = PaperHalfCheetah(), PaperAnt(survival_bonus=1.05)
SIZES = {"cheetah": (9, 9, 6), "ant": (15, 14, 8)}
ANT_START = [0, 0, 0.55, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1]


def state_of(nq, nv, *, v=0.0, z=0.6, forces=()):
    """A row whose numbers tell where they came from: qpos 10, 11 ..., qvel 100, 101 ..."""
    qpos, qvel = 10.0 + np.arange(nq), 100.0 + np.arange(nv)
    qpos[2] = z
    cfrc_ext = np.zeros((14, 6))
    for body, axis, force in forces:
        cfrc_ext[body, axis] = force
    axes = np.arange(9.0)  # x axis (0, 1, 2), y axis (3, 4, 5), z axis (6, 7, 8)
    sensors = np.concatenate([[0.7, 0.8, 0.9], [v, 5, 6], axes, [9, 9, 9]])
    fields = {"cfrc_ext": cfrc_ext[None], "sensordata": sensors[None]}
    return State(qpos[None], qvel[None], fields)


def judged(robot, family, task, actions, state):
    return judge(
        robot,
        family,
        np.array([task]),
        np.array([actions], float),
        # From far away: how far it came is not what the paper rewards.
        motion=robot.motion(np.array([[-77.0, 0.0]]), state, 0.01),
        state=state,
        diverged=np.array([False]),
        before=np.zeros((1, 1)),
    )


@pytest.mark.parametrize(
    ("family", "task", "forward"),
    [
        (GoalVelocity((0.0, 2.0)), [0.5], -1.5),  # -|2 - .5|
        (Direction(), 0, 2.0),
        (Direction(), 1, -2.0),
    ],
)
def test_the_cheetahs_reward(family, task, forward):
    state = state_of(9, 9, v=2.0)
    outcome = judged(CHEETAH, family, task, [1, 2, -0.5, 0, 0, -3], state)
    # The action counts clipped: .05 (1 + 1 + .25 + 1).
    np.testing.assert_allclose(outcome.rewards, forward - 0.1625, rtol=1e-12)
    assert not outcome.terminations[0]
    expected = [11, 0.6, *range(13, 19), *range(100, 109), 0.7, 0.8, 0.9]
    np.testing.assert_array_equal(outcome.observations[0], expected)


@pytest.mark.parametrize(
    ("robot", "family", "task", "forward"),
    [
        (ANT, GoalVelocity((0.0, 3.0)), [2.5], 1 - 1.5),
        (PaperAnt(), Direction(), 0, 1.0),
        (PaperAnt(), Direction(), 1, -1.0),
    ],
)
def test_the_ants_reward(robot, family, task, forward):
    state = state_of(15, 14, v=1.0, forces=[(0, 2, -3.0), (13, 5, 0.5)])
    outcome = judged(robot, family, task, [0.5] * 8, state)
    # .05 for living, .005 · 8 · .25, and 5e-4 (1 + .25): forces count clipped.
    np.testing.assert_allclose(outcome.rewards, forward + 0.05 - 0.01 - 0.000625, rtol=1e-12)
    seen = outcome.observations[0]
    assert seen.shape == (125,)
    np.testing.assert_array_equal(seen[:3], [10, 11, 0.6])
    np.testing.assert_array_equal(seen[15:29], range(100, 114))
    forces = seen[29:113].reshape(14, 6)
    assert (forces[0, 2], forces[13, 5], np.count_nonzero(forces)) == (-1.0, 0.5, 2)
    np.testing.assert_array_equal(seen[113:122], [0, 3, 6, 1, 4, 7, 2, 5, 8])  # axes as columns
    np.testing.assert_array_equal(seen[122:], [0.7, 0.8, 0.9])


@pytest.mark.parametrize(
    ("z", "fallen"), [(0.19, True), (0.2, False), (1.0, False), (1.01, True), (np.inf, True)]
)
def test_an_ant_falls_and_may_not_fly(z, fallen):
    outcome = judged(ANT, GoalVelocity((0.0, 3.0)), [1.0], [0.0] * 8, state_of(15, 14, z=z))
    assert outcome.terminations[0] == fallen
    np.testing.assert_allclose(outcome.rewards, 0.05)  # 1.05 - |0 - 1|, in the last step too


def test_the_point():
    env = gymnasium.make("rlmaml/Navigation2D-v0", scaled_actions=True).unwrapped
    env.set_task([0.3, 0.4])
    np.testing.assert_array_equal(env.reset(seed=0)[0], [0, 0])
    position, reward, reached, _, _ = env.step([0.5, -2.0])  # a tenth of it, clipped to ±.1
    np.testing.assert_allclose(position, [0.05, -0.1])
    np.testing.assert_allclose(reward, -np.hypot(0.25, 0.5))  # the distance, not its square
    assert not reached
    env.set_task([0.059, -0.109])
    *_, reached, _, _ = env.step([0.0, 0.0])
    assert reached  # nearer than .01 in both coordinates
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (2,))


@pytest.mark.parametrize(
    ("env_id", "start", "time"),
    [
        ("rlmaml/PaperHalfCheetahDir-v0", np.zeros(9), 0.01),
        ("rlmaml/PaperAntVel-v0", ANT_START, 0.02),
    ],
)
def test_first_states_and_time_step(env_id, start, time):
    env = gymnasium.make(env_id).unwrapped
    qpos, qvel = [], []
    for seed in range(300):
        observed, _ = env.reset(seed=seed)
        qpos.append(env.data.qpos.copy())
        qvel.append(env.data.qvel.copy())
    # Means within 5 standard errors; standard deviations of all draws within 5 %.
    np.testing.assert_allclose(np.mean(qpos, 0), start, atol=5 * 0.01 / np.sqrt(300))
    np.testing.assert_allclose(np.mean(qvel, 0), 0, atol=5 * 0.1 / np.sqrt(300))
    np.testing.assert_allclose((np.array(qpos) - start).std(), 0.01, rtol=0.05)
    np.testing.assert_allclose(np.std(qvel), 0.1, rtol=0.05)
    assert np.abs((np.array(qpos) - start) / 0.01).max() > 2.5  # no uniform noise
    assert observed.shape == {"H": (20,), "A": (125,)}[env_id[12]]
    env.step(np.zeros(env.action_space.shape))
    assert env.data.time == pytest.approx(time)  # one simulator step


def independently(model, data):
    """Center of mass, its velocity and the torso's rotation, body by body."""
    total = model.body_mass.sum()
    velocity, com = np.zeros(3), np.zeros(3)
    for body in range(model.nbody):
        six = np.zeros(6)
        mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_BODY, body, six, 0)
        velocity += model.body_mass[body] * six[3:] / total
        com += model.body_mass[body] * data.xipos[body] / total
    w, x, y, z = data.xquat[1]
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return com, velocity, np.ravel(rotation)


@pytest.mark.parametrize("name", ["HalfCheetahDir", "AntDir"])
def test_what_is_sensed_is_of_the_state_after_the_step(name):
    env = gymnasium.make(f"rlmaml/Paper{name}-v0").unwrapped
    env.reset(seed=0)
    plain = env._robot.model()
    data = mujoco.MjData(plain)
    rng = np.random.default_rng(0)
    touched = 0.0
    for _ in range(60):
        data.qpos[:], data.qvel[:] = env.data.qpos, env.data.qvel
        data.qacc_warmstart[:] = env.data.qacc_warmstart
        action = rng.uniform(-1, 1, env.action_space.shape)
        observed, _, ended, _, info = env.step(action)
        data.ctrl[:] = action
        mujoco.mj_step(plain, data)
        mujoco.mj_forward(plain, data)
        mujoco.mj_rnePostConstraint(plain, data)
        com, velocity, rotation = independently(plain, data)
        np.testing.assert_allclose(info["x_velocity"], velocity[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(observed[-3:], com, rtol=1e-9, atol=1e-12)
        if name == "AntDir":
            np.testing.assert_allclose(observed[113:122], rotation, atol=1e-12)
            forces = np.clip(data.cfrc_ext, -1, 1).ravel()
            np.testing.assert_allclose(observed[29:113], forces, atol=1e-9)
            touched += np.abs(forces).sum()
        if ended:
            env.reset(seed=1)
    assert touched or name != "AntDir"


def x_velocity_of(env):
    return CHEETAH.velocity(env._vector.simulation.state(slice(None)), np.zeros((1, 2)))[:, 0]


def test_moving_as_one_is_the_velocity_of_the_center_of_mass():
    env = gymnasium.make("rlmaml/PaperHalfCheetahVel-v0").unwrapped
    env.reset(seed=0)
    qvel = np.zeros(9)
    qvel[0] = 1.25
    env.set_state(np.zeros(9), qvel)
    np.testing.assert_allclose(x_velocity_of(env), 1.25)
    height = env.data.subtree_com[1, 2] - env.data.xpos[1, 2]
    qvel[:] = 0
    qvel[2] = 2.0  # turning about the torso's origin: v = ω times the height of the mass over it
    env.set_state(np.zeros(9), qvel)
    np.testing.assert_allclose(x_velocity_of(env), 2.0 * height)


def test_models_are_gymnasiums_but_for_what_the_paper_has_otherwise():
    for robot, asset in ((CHEETAH, "half_cheetah.xml"), (ANT, "ant.xml")):
        ours, theirs = robot.model(), mujoco_utils.load(asset)
        for name in ("body_mass", "body_inertia", "dof_damping", "dof_armature", "jnt_range"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        for name in ("jnt_stiffness", "geom_size", "geom_friction", "geom_margin", "actuator_gear"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        np.testing.assert_array_equal(ours.actuator_ctrlrange, theirs.actuator_ctrlrange)
        assert ours.opt.integrator == theirs.opt.integrator
    cheetah, ant = CHEETAH.model(), ANT.model()
    assert cheetah.body_mass.sum() == pytest.approx(14.0)
    assert cheetah.opt.timestep == 0.01
    np.testing.assert_allclose(cheetah.geom_solimp[1, :3], [0.0, 0.8, 0.01])
    np.testing.assert_allclose(cheetah.geom_solref[1], [0.02, 1.0])
    assert ant.opt.timestep == 0.02
    assert ant.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4
    np.testing.assert_allclose(ant.geom_solimp[:, :3], [[0.8, 0.8, 0.01]] * ant.ngeom)
    np.testing.assert_allclose(ant.geom_solref, [[0.02, 1.0]] * ant.ngeom)
    np.testing.assert_array_equal(ant.actuator_gear[:, 0], 150.0)
    np.testing.assert_array_equal(ant.actuator_ctrlrange, [[-1.0, 1.0]] * 8)


def test_an_ants_contacts_are_the_papers_whatever_the_model_says():
    """All but gymnasium's impedances are the paper's already; another version's may not be."""
    spec = mujoco.MjSpec.from_file(str(mujoco_utils.ASSETS / "ant.xml"))
    for geom in spec.geoms:
        geom.solref, geom.solimp[:3] = (0.5, 0.7), (0.5, 0.6, 0.1)
    ANT._adjust(spec)
    model = spec.compile()
    np.testing.assert_allclose(model.geom_solref, [[0.02, 1.0]] * model.ngeom)
    np.testing.assert_allclose(model.geom_solimp[:, :3], [[0.8, 0.8, 0.01]] * model.ngeom)
    theirs = mujoco_utils.load("ant.xml").geom_solimp[:, :3]
    assert not np.allclose(theirs, model.geom_solimp[:, :3])


def test_directions_by_independent_coins():
    rng = np.random.default_rng(0)
    family = gymnasium.make("rlmaml/PaperHalfCheetahDir-v0").unwrapped
    counts = [family.sample_tasks(40, rng).sum() for _ in range(400)]
    assert np.mean(counts) == pytest.approx(20, abs=0.8)
    assert np.std(counts) == pytest.approx(np.sqrt(10), rel=0.15)
    balanced = gymnasium.make("rlmaml/PaperAntDir-v0", balanced=True).unwrapped
    assert all(balanced.sample_tasks(40, rng).sum() == 20 for _ in range(5))


def test_a_finished_batch_of_ants_is_left_alone():
    env = gymnasium.make_vec("rlmaml/PaperAntVel-v0", num_envs=2, autoreset_mode="Disabled")
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(205):  # past the time limit
        observations, _, terminations, truncations, _ = env.step(rng.uniform(-1, 1, (2, 8)))
    assert (terminations | truncations).all()
    again, rewards, *_ = env.step(np.zeros((2, 8)))
    np.testing.assert_array_equal(again, observations)
    np.testing.assert_array_equal(rewards, 0)


def test_what_is_no_truth_value_is_refused():
    for env_id, option in (
        ("rlmaml/PaperAntDir-v0", {"balanced": "no"}),
        ("rlmaml/Navigation2D-v0", {"scaled_actions": "false"}),
    ):
        with pytest.raises(TypeError, match="True"):
            gymnasium.make(env_id, **option)


@pytest.mark.parametrize(
    ("robot", "option"),
    [
        (PaperAnt, {"include_cfrc_ext_in_observation": True}),
        (PaperAnt, {"reset_noise_scale": 0.0}),
        (PaperHalfCheetah, {"reset_noise_scale": 0.0}),
    ],
)
def test_what_the_papers_robots_have_of_their_own_cannot_be_set(robot, option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} is .* leave it out"):
        robot(**option)
    with pytest.raises(TypeError, match="include_cfrc_ext_in_observation"):
        PaperHalfCheetah(include_cfrc_ext_in_observation=True)  # no contact forces to observe
    assert robot(frame_skip=2).frame_skip == 2
