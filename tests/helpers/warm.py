"""Imported by the process that `tests.helpers.share` forks from: what training imports, once."""

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401
import torch

from tests.helpers import share

torch.set_num_threads(1)  # and so begins no threads, which a fork would lose
share.one_update(share.problem("navigation"))
