from rlmaml.config import *  # noqa: F403
from rlmaml.config import (  # noqa: F401
    DEFAULT_ALGORITHM,
    RUN_FIELDS,
    EnvConfig,
    ExamplesConfig,
    TrainConfig,
    changes,
    flat,
)
