"""The tables of presets."""

import pytest

from benchmarks import presets


@pytest.mark.parametrize("folder", presets.PAGES)
def test_the_page_has_the_tables_that_the_files_make(folder):
    page = (presets.RESULTS / presets.PAGES[folder]).read_text()
    for table in presets.TABLES:
        header, _, *lines = table(presets.RESULTS / folder).splitlines()
        assert lines or table is not presets.table
        for line in [header] * bool(lines) + lines:
            assert line in page
