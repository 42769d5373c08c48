"""Every Python block of the docs runs, in order, in one namespace a page."""

import re
import tomllib
from pathlib import Path

import pytest

import rlmaml
from tests.helpers.runs import tiny

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DEEPER = sorted((ROOT / "docs").glob("*/*.md"))

TRAINED = {"runs/vel": "half-cheetah-vel", "runs/first": "navigation"}
"""What a page that loads a run has had trained by then."""


def _name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
@pytest.mark.slow
def test_code_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run, preset in TRAINED.items():
        if f'"{run}"' in page.read_text():
            tiny(tmp_path / run, preset=preset)
    namespace = {"__name__": page.stem}
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
        exec(compile(block, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", [*PAGES, *DEEPER, ROOT / "CONTRIBUTING.md"], ids=_name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert "://" in target or (page.parent / target).exists(), target


def _anchor(heading):
    """The name that GitHub gives a heading; docs/site_links.py makes the site's of it."""
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, *DEEPER, ROOT / "CONTRIBUTING.md"], ids=_name)
def test_links_lead_to_headings(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for path, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text):
        other = page.parent / path if path else page
        headings = re.findall(r"^#+ (.+)$", other.read_text(), re.M)
        assert anchor in map(_anchor, headings), (path, anchor)


def test_the_version_is_the_same_wherever_it_stands():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert rlmaml.__version__ in (version, "unknown")
