from rlmaml.build import Experiment  # noqa: F401
from runners.environments import build_experiment as build  # noqa: F401
