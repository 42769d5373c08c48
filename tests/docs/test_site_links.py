"""What becomes of a page's links on the site."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("site_links", DOCS / "site_links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.on_page_markdown


@pytest.fixture
def repository(tmp_path):
    """A package, a program beside it, and docs, all in one folder."""
    root = tmp_path / "repository"
    for file in (
        *("package/__init__.py", "package/module.py", "package/part/__init__.py"),
        *("README.md", "tools/notes.txt"),
        *("docs/page.md", "docs/deep/other.md", "docs/figures/one.png"),
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    (tmp_path / "elsewhere.py").touch()
    return root


@pytest.mark.parametrize(
    ("page", "given", "made"),
    [
        # Files of the docs are mkdocs's to look after.
        ("page.md", "[a](deep/other.md#part)", None),
        ("page.md", "[a](#part) and [b](https://example.org/a.py)", None),
        ("page.md", "![a](figures/one.png)", None),
        ("deep/other.md", "[a](../page.md)", None),
        # So is what is nowhere, or nowhere in the repository.
        ("page.md", "[a](../package/nothing.py)", None),
        ("page.md", "[a](../../elsewhere.py)", None),
        # Files that the site does not have, and folders.
        ("page.md", "see [the *README*](../README.md#install), (b)", "see the *README*, (b)"),
        ("page.md", "[a](../tools) and [b](../tools/notes.txt)", "a and b"),
        ("page.md", "[figures](figures)", "figures"),
        # Modules.
        (
            "deep/other.md",
            "[`module.py`](../../package/module.py), [b](../page.md)",
            '<autoref identifier="package.module" optional>`module.py`</autoref>, [b](../page.md)',
        ),
        (
            "page.md",
            "[a](../package/part) [b](../package/part/__init__.py)",
            '<autoref identifier="package.part" optional>a</autoref> '
            '<autoref identifier="package.part" optional>b</autoref>',
        ),
    ],
)
def test_links(hook, repository, page, given, made):
    config = SimpleNamespace(
        docs_dir=str(repository / "docs"), config_file_path=str(repository / "mkdocs.yml")
    )
    shown = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    text = hook(given, page=shown, config=config, files=None)
    assert text == (given if made is None else made)
