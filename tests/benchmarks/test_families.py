"""The table of the field's families."""

from benchmarks import families


def test_the_page_has_the_table_that_the_files_make():
    page = families.RESULTS.with_suffix(".md").read_text()
    for line in families.table().splitlines():
        assert line in page
