import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    """Tests that draw parameters get the same ones, alone or together."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs CUDA")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(skip)
