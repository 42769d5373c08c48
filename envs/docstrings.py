"""Which module of Python's standard library is this from? Texts that every Python brings along."""

from __future__ import annotations

import ast
import functools
import re
import sysconfig
import warnings
from collections.abc import Sequence
from pathlib import Path

from .classification import split_classes
from .text import TextError, TextTasks, check_ways, distinct, words

# Tests and a whole editor are no library; the last two hold other people's modules.
_LEFT_OUT = frozenset({"test", "tests", "idlelib", "idle_test", "site-packages", "dist-packages"})
_FEWEST_WORDS = 5


def docstrings(
    way: int = 5,
    length: int = 32,
    vocabulary: int = 2000,
    split_seed: int = 0,
    fractions: Sequence[float] = (0.64, 0.16, 0.2),
    least: int = 20,
) -> TextTasks:
    """Docstrings of Python's standard library; a class is a module or package, such as `email`.

    A text is the first paragraph of the docstring of a module, class, function or method, read
    from the source files that CPython is installed with; nothing is imported. Those of fewer than
    five words are left out, and those that several modules have. Another version of Python has
    other docstrings, and the fingerprint says so.

    Args:
        way: classes of a task.
        length: as in `TextTasks`.
        vocabulary: as in `TextTasks`.
        split_seed: of the division into splits.
        fractions: of train, validation and test.
        least: modules of fewer texts are left out.

    Raises:
        TextError: too few modules, as where Python came without its sources.
    """
    if least < 2:
        raise ValueError(f"least is {least}; a class has at least two texts")
    classes = {name: list(texts) for name, texts in _library() if len(texts) >= least}
    splits = split_classes(len(classes), fractions, split_seed)
    where = f"the standard library in {sysconfig.get_path('stdlib')}, by docstrings,"
    check_ways(where, splits, len(classes), way, fractions)
    return TextTasks(classes, splits, way, length, vocabulary)


@functools.cache
def _library() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The texts of each module, in the order of the modules' names. Takes seconds, once."""
    root = Path(sysconfig.get_path("stdlib"))
    if not root.is_dir():
        raise TextError(f"Python's standard library is not at {root}, as files")
    found: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not _LEFT_OUT.intersection(parts):
            found.setdefault(parts[0], []).extend(_paragraphs(path))
    return tuple((name, tuple(texts)) for name, texts in sorted(distinct(found).items()))


def _paragraphs(path: Path) -> list[str]:
    """The first paragraph of every docstring in a source file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in other people's strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):  # such as templates, which are no Python
        return []
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = []
    for node in ast.walk(tree):
        said = ast.get_docstring(node) if isinstance(node, documented) else None
        paragraph = " ".join(re.split(r"\n\s*\n", said or "", maxsplit=1)[0].split())
        if len(words(paragraph)) >= _FEWEST_WORDS:
            found.append(paragraph)
    return found
