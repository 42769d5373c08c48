from rlmaml.build import data_per_task  # noqa: F401
from rlmaml.build import data_spec as plan  # noqa: F401
