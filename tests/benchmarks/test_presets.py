"""The tables of presets."""

import pytest

from benchmarks import presets


@pytest.mark.parametrize("folder", presets.PAGES)
def test_the_page_has_the_table_that_the_files_make(folder):
    page = (presets.RESULTS / presets.PAGES[folder]).read_text()
    lines = presets.table(presets.RESULTS / folder).splitlines()
    assert len(lines) > 2
    for line in lines:
        assert line in page
