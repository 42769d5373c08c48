"""Process-wide settings of torch."""

import torch

from rlmaml.config import TrainConfig
from runners.torch_setup import configure


def test_threads_and_precision_are_the_configurations():
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        configure(TrainConfig(threads=1, tf32=True))
        assert torch.get_num_threads() == 1
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
        configure(TrainConfig(threads=2))
        assert torch.get_num_threads() == 2
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
