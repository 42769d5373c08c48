"""Few-shot tasks from docstrings: which module of Python or of a package is one from?"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import sysconfig
import warnings
from collections.abc import Sequence
from pathlib import Path

from .classes import check_ways, split_classes
from .folders import check_fractions
from .text import TextError, TextTasks, distinct, words

# Tests and a whole editor are no library; the last two hold other people's modules.
_LEFT_OUT = frozenset({"test", "tests", "idlelib", "idle_test", "site-packages", "dist-packages"})
_FEWEST_WORDS = 5
_PARAGRAPH_END = re.compile(r"\n\s*\n")


def docstrings(
    way: int = 5,
    length: int = 32,
    vocabulary: int = 2000,
    split_seed: int = 0,
    fractions: Sequence[float] = (0.64, 0.16, 0.2),
    least: int = 20,
    packages: Sequence[str] = ("matplotlib", "numpy"),
) -> TextTasks:
    """Docstrings of Python's standard library and of packages; a class is a module of theirs.

    The modules are those right inside, packages as a whole: `email`, `matplotlib.axes`. A text is
    the first paragraph of the docstring of a module, class, function or method, read from the
    source files; nothing is imported. Those of fewer than five words are left out, and those that
    several modules have. Other versions have other docstrings, and the fingerprint says so.

    Args:
        way: classes of a task.
        length: as in `TextTasks`.
        vocabulary: as in `TextTasks`.
        split_seed: of the division into splits.
        fractions: of train, validation and test.
        least: modules of fewer texts are left out.
        packages: installed ones to take modules of, beside the standard library.

    Raises:
        TextError: too few modules, as where Python came without its sources; or a package that is
            not installed.
    """
    if least < 2:
        raise ValueError(f"least is {least}; a class has at least two texts")
    texts_of: dict[str, list[str]] = {}
    for package in ("", *sorted(set(packages))):
        texts_of |= _modules(package)
    enough = {name: texts for name, texts in distinct(texts_of).items() if len(texts) >= least}
    classes = dict(sorted(enough.items()))
    fractions = check_fractions(fractions)
    splits = split_classes(len(classes), fractions, split_seed)
    where = f"the standard library in {sysconfig.get_path('stdlib')}, by docstrings,"
    check_ways(where, splits, len(classes), way, fractions, TextError)
    return TextTasks(classes, splits, way, length, vocabulary)


@functools.cache
def _modules(package: str) -> dict[str, list[str]]:
    """The texts of each module of a package, of "" the standard library. Takes seconds, once."""
    root = _folder(package) if package else Path(sysconfig.get_path("stdlib"))
    texts_of: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not _LEFT_OUT.intersection(parts):
            name = f"{package}.{parts[0]}" if package else parts[0]
            texts_of.setdefault(name, []).extend(_paragraphs(path))
    return texts_of


def _folder(package: str) -> Path:
    """The folder where the package is installed."""
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise TextError(f"there is no package {package!r} installed to read docstrings of")
    return Path(next(iter(spec.submodule_search_locations)))


def _paragraphs(path: Path) -> list[str]:
    """The first paragraph of every docstring in a source file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in other people's strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):  # such as templates, which are no Python
        return []
    paragraphs: list[str] = []
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        # Definitions stand in the bodies of statements; expressions are most of a tree.
        for part in ("body", "handlers", "orelse", "finalbody"):
            inside = getattr(node, part, None)
            todo += inside if isinstance(inside, list) else []
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            paragraph = _PARAGRAPH_END.split(docstring, maxsplit=1)[0]
            if len(words(paragraph)) >= _FEWEST_WORDS:
                paragraphs.append(" ".join(paragraph.split()))
    return paragraphs
