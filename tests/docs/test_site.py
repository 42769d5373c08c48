"""The docs as a site: pages are in the navigation, links of what is built lead somewhere."""

import functools
import html.parser
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import rlmaml
from tests.helpers import browser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_each_page_is_in_the_navigation_once():
    """Also where mkdocs is not installed, which says so in other words."""
    _, _, navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")
    entries = re.findall(r"^ +- [^:\n]+: (\S+)$", navigation, re.M)
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    assert Counter(entries) == Counter(pages)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that `make docs` would build, warnings being errors."""
    pytest.importorskip("material", reason="needs the docs extra")
    pytest.importorskip("mkdocstrings_handlers.python", reason="needs the docs extra")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


class Page(html.parser.HTMLParser):
    """What an HTML file refers to, and what in it can be referred to."""

    def __init__(self, path):
        super().__init__()
        self.path, self.ids, self.links, self.fetched = path, set(), [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids.update(values[name] for name in ("id", "name") if values.get(name))
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag != "a":
            self.fetched += [values[name] for name in ("href", "src") if values.get(name)]


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def target(site, page, address):
    """The file that an address within the site leads to, and the place in it."""
    parts = urlsplit(address)
    path = unquote(parts.path)
    start = site if path.startswith("/") else page.path.parent
    return (start / path.lstrip("/")).resolve() if path else page.path, unquote(parts.fragment)


@pytest.mark.slow
def test_links_and_images_lead_somewhere(site, pages):
    assert {site / "index.html", site / "results" / "index.html"} < pages.keys()
    lost = []
    for page in pages.values():
        for address in page.links + page.fetched:
            if urlsplit(address).scheme in ("http", "https", "data", "javascript"):
                continue
            path, place = target(site, page, address)
            found = path.is_file() and (not place or path not in pages or place in pages[path].ids)
            if not found:
                lost.append((str(page.path.relative_to(site)), address))
    assert lost == []


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(pages):
    for page in pages.values():
        assert [a for a in page.fetched if urlsplit(a).scheme not in ("", "data")] == []


@pytest.mark.slow
def test_the_reference_has_all_names_and_is_linked(site, pages):
    names = pages[site / "reference" / "names.html"].ids
    assert {f"rlmaml.{name}" for name in rlmaml.__all__} <= names
    assert "reference/meta_gradient.html#rlmaml.inner" in pages[site / "index.html"].links
    algorithms = pages[site / "reference" / "algorithms.html"].ids
    assert "rlmaml.algorithms.maml.MAML" in algorithms


@pytest.mark.slow
def test_the_search_index_has_what_is_looked_for(site, pages):
    entries = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    found = {each["location"] for each in entries if "adapt" in each["title"].lower()}
    assert {
        "python.html#adapt-what-was-trained",
        "reference/meta_gradient.html#rlmaml.inner.adapt",
    } <= found
    for location in found:
        path, place = target(site, pages[site / "index.html"], location)
        assert place in pages[path].ids


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def address(site):
    """Where the site is served."""
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


RESULTS = """
return (async () => {
  for (let i = 0; i < 200; i++) {
    const found = [...document.querySelectorAll(".md-search-result__item a")];
    if (found.length) return found.map((each) => each.href);
    await new Promise((next) => setTimeout(next, 50));
  }
  return [];
})();
"""
PICTURES = "return [...document.images].map((each) => [each.complete, each.naturalWidth]);"


@pytest.mark.slow
@pytest.mark.skipif(
    not (browser.CHROMIUM and browser.DRIVER), reason="needs Chromium and chromedriver"
)
def test_in_a_browser(site, address, tmp_path):
    """Search finds, pictures show, nothing else is asked for, nothing is complained of."""
    with browser.chromium(tmp_path / "profile") as shown:
        shown.open(f"{address}/404.html")
        shown.requests(), shown.console()  # of the browser's own first page
        shown.open(f"{address}/index.html?q=adapt")
        found = shown.run(RESULTS)
        assert any(each.startswith(f"{address}/python.html") for each in found)
        for page in ("few_shot.html", "results/index.html", "results/paper.html"):
            shown.open(f"{address}/{page}")
            pictures = shown.run(PICTURES)
            assert pictures
            assert all(done and width > 0 for done, width in pictures)
        assert [url for url in shown.requests() if not url.startswith((address, "data:"))] == []
        assert shown.console() == []
