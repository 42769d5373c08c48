"""The registered families: what each is made of, and its parameters with their defaults.

A function here takes the parameters that `gymnasium.make` and `gymnasium.make_vec` accept for
its id and returns the parts: a robot and its tasks. The table that sets the defaults against
the MAML paper's, ProMP's and gymnasium's is in docs/environments.md.
"""

from __future__ import annotations

from .core.tasks import Interval, Range, Tasks
from .locomotion.maml_paper import PaperAnt, PaperHalfCheetah
from .locomotion.robots.ant import Ant
from .locomotion.robots.base import Robot
from .locomotion.robots.half_cheetah import HalfCheetah
from .locomotion.tasks import Direction, GoalVelocity
from .navigation.tasks import GoalPoint
from .tabular import BernoulliBandits, GaussianBandits, RandomMDPs


def half_cheetah_vel(
    *,
    goal_range: Range = (0.0, 2.0),
    test_goal_range: Range | None = None,
    balanced: bool = False,
    ctrl_cost_weight: float = 0.05,
    frame_skip: int = 5,
    reset_noise_scale: float = 0.1,
) -> tuple[Robot, Tasks]:
    """HalfCheetahVel: reward -|v - v*| - ctrl_cost_weight Σa².

    Args:
        goal_range: goal velocities to train on, in meters a second: an interval or several.
        test_goal_range: those of split="test"; None is `goal_range`.
        balanced: draw one of n goals from each n-th part of the range; the paper draws each by
            itself.
        ctrl_cost_weight: the paper's .05; gymnasium's own task has .1.
        frame_skip: simulator steps of .01 s an action; gymnasium's 5, the paper's 1.
        reset_noise_scale: gymnasium's .1.
    """
    robot = HalfCheetah(
        frame_skip=frame_skip,
        ctrl_cost_weight=ctrl_cost_weight,
        reset_noise_scale=reset_noise_scale,
    )
    return robot, GoalVelocity(goal_range, test_goal_range, balanced=balanced)


def half_cheetah_dir(
    *,
    balanced: bool = True,
    ctrl_cost_weight: float = 0.05,
    frame_skip: int = 5,
    reset_noise_scale: float = 0.1,
) -> tuple[Robot, Tasks]:
    """HalfCheetahDir: reward ±v - ctrl_cost_weight Σa².

    Args:
        balanced: draw half of the tasks forward; the paper draws each by itself.
        ctrl_cost_weight: the paper's .05; gymnasium's own task has .1.
        frame_skip: simulator steps of .01 s an action; gymnasium's 5, the paper's 1.
        reset_noise_scale: gymnasium's .1.
    """
    robot = HalfCheetah(
        frame_skip=frame_skip,
        ctrl_cost_weight=ctrl_cost_weight,
        reset_noise_scale=reset_noise_scale,
    )
    return robot, Direction(balanced=balanced)


def ant_vel(
    *,
    goal_range: Range = (0.0, 3.0),
    test_goal_range: Range | None = None,
    balanced: bool = False,
    ctrl_cost_weight: float = 0.005,
    survival_bonus: float = 1.05,
    contact_cost_weight: float = 0.0,
    include_cfrc_ext_in_observation: bool = False,
    frame_skip: int = 5,
    reset_noise_scale: float = 0.1,
) -> tuple[Robot, Tasks]:
    """AntVel: reward survival_bonus - |v - v*| - ctrl_cost_weight Σa² - contact cost.

    Args:
        goal_range: goal velocities to train on, in meters a second: an interval or several.
        test_goal_range: those of split="test"; None is `goal_range`.
        balanced: draw one of n goals from each n-th part of the range; the paper draws each by
            itself.
        ctrl_cost_weight: the paper's .005; gymnasium's own task has .5.
        survival_bonus: a step, the last included; the paper's 1 + .05.
        contact_cost_weight: of the squared contact forces, clipped to ±1; the paper's and
            gymnasium's is 5e-4. Any but 0 costs a batch about 15 µs a simulation and step.
        include_cfrc_ext_in_observation: observe those forces too, 78 numbers more, as the
            paper and gymnasium do, at the same cost.
        frame_skip: simulator steps of .01 s an action, gymnasium's 5; 2 is the paper's .02 s.
        reset_noise_scale: gymnasium's .1.
    """
    robot = Ant(
        frame_skip=frame_skip,
        ctrl_cost_weight=ctrl_cost_weight,
        survival_bonus=survival_bonus,
        contact_cost_weight=contact_cost_weight,
        include_cfrc_ext_in_observation=include_cfrc_ext_in_observation,
        reset_noise_scale=reset_noise_scale,
    )
    return robot, GoalVelocity(goal_range, test_goal_range, balanced=balanced)


def ant_dir(
    *,
    balanced: bool = True,
    ctrl_cost_weight: float = 0.005,
    survival_bonus: float = 0.05,
    contact_cost_weight: float = 0.0,
    include_cfrc_ext_in_observation: bool = False,
    frame_skip: int = 5,
    reset_noise_scale: float = 0.1,
) -> tuple[Robot, Tasks]:
    """AntDir: reward survival_bonus ± v - ctrl_cost_weight Σa² - contact cost.

    Args:
        balanced: as in `half_cheetah_dir`.
        ctrl_cost_weight: the paper's .005; gymnasium's own task has .5.
        survival_bonus: a step, the last included; the paper's .05.
        contact_cost_weight: as in `ant_vel`.
        include_cfrc_ext_in_observation: as in `ant_vel`.
        frame_skip: simulator steps of .01 s an action, gymnasium's 5; 2 is the paper's .02 s.
        reset_noise_scale: gymnasium's .1.
    """
    robot = Ant(
        frame_skip=frame_skip,
        ctrl_cost_weight=ctrl_cost_weight,
        survival_bonus=survival_bonus,
        contact_cost_weight=contact_cost_weight,
        include_cfrc_ext_in_observation=include_cfrc_ext_in_observation,
        reset_noise_scale=reset_noise_scale,
    )
    return robot, Direction(balanced=balanced)


def paper_half_cheetah_vel(*, balanced: bool = False) -> tuple[Robot, Tasks]:
    """PaperHalfCheetahVel: the MAML paper's, reward -|v - v*| - .05 Σa², v* in [0, 2] m/s.

    Args:
        balanced: as in `half_cheetah_vel`.
    """
    return PaperHalfCheetah(), GoalVelocity((0.0, 2.0), balanced=balanced)


def paper_half_cheetah_dir(*, balanced: bool = False) -> tuple[Robot, Tasks]:
    """PaperHalfCheetahDir: the MAML paper's, reward ±v - .05 Σa².

    Args:
        balanced: draw half of the tasks forward; the paper draws each by itself.
    """
    return PaperHalfCheetah(), Direction(balanced=balanced)


def paper_ant_vel(*, balanced: bool = False) -> tuple[Robot, Tasks]:
    """PaperAntVel: the MAML paper's, reward 1.05 - |v - v*| - .005 Σa² - contact cost, v* in
    [0, 3] m/s.

    Args:
        balanced: as in `half_cheetah_vel`.
    """
    return PaperAnt(survival_bonus=1.05), GoalVelocity((0.0, 3.0), balanced=balanced)


def paper_ant_dir(*, balanced: bool = False) -> tuple[Robot, Tasks]:
    """PaperAntDir: the MAML paper's, reward .05 ± v - .005 Σa² - contact cost.

    Args:
        balanced: draw half of the tasks forward; the paper draws each by itself.
    """
    return PaperAnt(), Direction(balanced=balanced)


def navigation(*, goal_range: Interval = (-0.5, 0.5)) -> GoalPoint:
    """Navigation2D: reward -||x - g||.

    Args:
        goal_range: either coordinate of a goal; the paper's.
    """
    return GoalPoint(goal_range)


def tabular_mdp(
    *, num_states: int = 10, num_actions: int = 5, reward_noise: float = 1.0
) -> RandomMDPs:
    """TabularMDP: reward m(s, a) + reward_noise N(0, 1).

    Args:
        num_states: RL²'s 10.
        num_actions: RL²'s 5.
        reward_noise: standard deviation; RL²'s 1.
    """
    return RandomMDPs(num_states, num_actions, reward_noise)


def bernoulli_bandit(*, num_arms: int = 5) -> BernoulliBandits:
    """BernoulliBandit: reward 1 with the arm's probability, otherwise 0.

    Args:
        num_arms: RL² has 5, 10 and 50.
    """
    return BernoulliBandits(num_arms)


def gaussian_bandit(*, num_arms: int = 5, noise_scale: float = 1.0) -> GaussianBandits:
    """GaussianBandit: reward m(a) + noise_scale N(0, 1).

    Args:
        num_arms: how many there are to choose from.
        noise_scale: standard deviation of the noise.
    """
    return GaussianBandits(num_arms, noise_scale)
