"""Numbers and names in words: for tables, plots and reports."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

METRICS = {
    "return": "return per episode",
    "mse": "mean squared error",
    "accuracy": "share of query examples right",
}
"""Metrics that a run may be measured by, in words."""

NOUNS = {"return": "return", "mse": "mean squared error", "accuracy": "accuracy"}
"""Metrics that a run may be measured by, in a sentence."""

BASELINES = {
    "random": "the same network untrained",
    "pretrained": "one model trained for all tasks at once",
    "oracle": "one model that is shown the task and does not adapt",
}
"""Descriptions of the baselines of `runners.evaluation.baselines`, in a sentence."""


_KEPT = frozenset("\n\t")
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """Text as a terminal or a plot may be given it: what would command either is spelt out.

    A file decides over names and labels, so that they may hold escape sequences, marks that turn
    the direction of writing, or half a character.
    """
    return "".join(letter if _is_harmless(letter) else _spelt(letter) for letter in text)


def one_line(text: str) -> str:
    """The same, in one line."""
    return printable(" ".join(part.strip() for part in text.split("\n") if part.strip()))


def _is_harmless(letter: str) -> bool:
    if letter in _KEPT:
        return True
    code = ord(letter)
    if code < 0x20 or 0x7F <= code < 0xA0 or code in (0x2028, 0x2029):
        return False
    return not 0xD800 <= code < 0xE000 and letter not in _DIRECTIONS


def _spelt(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def digits(metric: str, values: Iterable[float]) -> int:
    """Decimals to show: returns of a robot are large numbers, errors and shares small ones."""
    return 1 if metric == "return" and any(abs(value) >= 10 for value in values) else 3


def number(value: float, decimals: int) -> str:
    """A score with a minus sign, not a hyphen; `diverged` if it is not finite."""
    if not np.isfinite(value):
        return "diverged"
    return f"{value:z.{decimals}f}".replace("-", "−")  # z: no minus before 0.0


def share(value: float) -> str:
    """A share in percent; a dash where there is none."""
    return f"{value:.0%}".replace("-", "−") if np.isfinite(value) else "–"


def kind(name: str) -> str:
    """A kind of task; evaluations of earlier versions have its number alone."""
    return f"task {name}" if name.isdigit() else printable(name)


def higher_is_better(metric: str) -> bool:
    """True where the better of two scores is the higher one."""
    return metric != "mse"


def tasks(count: int, kinds: int = 0, split: str = "test") -> str:
    """Tasks that something was measured on: held out, unless there are so few kinds of them."""
    if kinds:
        return f"{count} tasks of {kinds} kinds"
    return f"{count} {'held-out' if split == 'test' else split} tasks"


def steps(count: int) -> str:
    """A number of inner steps: 1 step, 2 steps."""
    return f"{count} step" + "s" * (count != 1)


def listed(items: Iterable[object]) -> str:
    """An enumeration: a, b and c."""
    *most, last = map(str, items)
    return f"{', '.join(most)} and {last}" if most else last


def amount(count: float) -> str:
    """A number of steps or examples: 28.8 million, 192."""
    return f"{count / 1e6:.1f} million" if count >= 1e5 else f"{count:,.0f}"


def duration(seconds: float) -> str:
    """A time: 2.5 hours, 3.0 minutes, 40 seconds."""
    for size, name in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} second" + "s" * (round(seconds) != 1)
