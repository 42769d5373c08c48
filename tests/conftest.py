import collections
import functools
import gc
import io

import numpy as np
import pytest
import torch
from PIL import Image

from envs.few_shot import docstrings, glyphs
from envs.locomotion import opengl as opengl_module
from runners import plotting


@pytest.fixture(autouse=True)
def _seeded():
    """Tests that draw parameters get the same ones, alone or together."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    # Workers take whole files in this order. A long one that came last would be waited for.
    of_file = collections.defaultdict(list)
    for item in items:
        of_file[item.path].append(item)
    files = sorted(of_file.values(), key=lambda tests: (-sum(map(_slow, tests)), -len(tests)))
    items[:] = [item for tests in files for item in tests]
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs CUDA")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(skip)


def _slow(item):
    return item.get_closest_marker("slow") is not None


def pytest_collection_finish():
    """What was imported stays, and so need not be looked at by every collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """root/class/*.png: 36 classes of 8 images, each class a stripe of its own place and angle."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for c in range(36):
        (root / f"class-{c:02d}").mkdir()
        for i in range(8):
            pixels = rng.integers(0, 60, (40, 40))
            place = 1 + c // 2 * 2
            line = (slice(place - 1, place + 2), slice(None))
            pixels[line if c % 2 else line[::-1]] += 190
            Image.fromarray(pixels.astype(np.uint8)).save(root / f"class-{c:02d}" / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def text_table(tmp_path_factory):
    """A .csv of 36 classes of 16 texts; two words of each say which class it is, in any order."""
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    rng = np.random.default_rng(0)
    own, filler = ([f"{kind}{i}" for i in range(24)] for kind in ("own", "filler"))
    pairs = [(a, b) for i, a in enumerate(own) for b in own[:i]]
    rows = ["label,text"]
    for k, pair in enumerate(rng.permutation(pairs)[:36]):
        for _ in range(16):
            words = rng.permutation([*rng.choice(filler, 6), *pair])
            rows.append(f"class-{k:02d},{' '.join(words)}")
    path.write_text("\n".join(rows))
    return path


@functools.cache
def _few_drawings():
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZbdefghkmqrtyĐЖДЙЛЦЧЯ"
    armenian = "".join(map(chr, range(0x531, 0x54B)))
    greek = "ΓΔΘΛΞΠΣΦΨΩΑΒαβγδεζηθλμξπσςτφχψωϟ"
    return glyphs.draw(glyphs.fonts(), letters + armenian + greek)


@pytest.fixture(autouse=True)
def few_glyphs(monkeypatch):
    """A hundred letters, drawn when asked for: those of all scripts take twenty seconds."""
    monkeypatch.setattr(glyphs, "all_drawings", _few_drawings)
    return _few_drawings


@pytest.fixture(autouse=True)
def few_modules(monkeypatch):
    """Docstrings of thirty modules that do not exist: to read those of all takes seconds."""
    names = [f"{one}{two}" for one in ("in", "out", "up") for two in "abcdefghij"]
    texts = {name: [f"Do what {name} does number {i} of them" for i in range(25)] for name in names}
    monkeypatch.setattr(docstrings, "_modules", lambda package: {} if package else texts)


@functools.cache
def _empty_picture(format):
    assert format == "png", "mark the test with `pictures`"
    content = io.BytesIO()
    Image.new("L", (1, 1)).save(content, format)
    return content.getvalue()


@pytest.fixture(autouse=True)
def few_pictures(request, monkeypatch):
    """Files of plots are empty pictures, since drawing takes as long as a small run."""
    if not request.node.get_closest_marker("pictures"):
        monkeypatch.setattr(plotting, "_drawn", lambda figure, format: _empty_picture(format))


@pytest.fixture
def opengl():
    """Skips where nothing can be drawn with OpenGL, with the reason."""
    opengl_module.choose_opengl()
    try:
        opengl_module.check_opengl()
    except opengl_module.NoOpenGLError as problem:
        pytest.skip(str(problem))
