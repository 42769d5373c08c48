"""Runs to export from, trained once."""

import pytest

from tests.helpers.exported import FAMILIES, trained


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {preset: trained(folder, preset) for preset in FAMILIES}


@pytest.fixture(scope="session")
def standardized(tmp_path_factory):
    folder = tmp_path_factory.mktemp("standardized")
    words = ("--normalize-observations", "True")
    return {name: trained(folder, name, *words) for name in ("half-cheetah-vel", "tabular")}
