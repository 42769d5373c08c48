"""Classes by the name that a table gives them, or by `module:Class` of the user's own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from rlmaml import trust
from rlmaml.errors import ConfigError


def find_class(table: Mapping[str, str], name: str, what: str) -> type:
    """Import a class.

    Args:
        table: `module:Class` by name.
        name: a key of `table`, or `module:Class`.
        what: what the class is, for error messages: "algorithm", "outer step".

    Returns:
        The class; whether it is one of the right kind is for the caller to check.

    Raises:
        ConfigError: a name that is not in the table, a module that cannot be imported, or that a
            file names and nobody else, or a member that is missing or no class.
    """
    target = table.get(name, name)
    module, _, member = target.partition(":")
    if not member or not module or module.startswith("."):
        raise ConfigError(
            f"Unknown {what} {name!r}: use one of {', '.join(table)}, or MODULE:CLASS of your own."
        )
    if name not in table:
        trust.check_module(module, f"{what} {name}")
    try:
        kind = getattr(importlib.import_module(module), member)
    except (ImportError, AttributeError, SyntaxError, ValueError) as problem:
        raise ConfigError(f"Cannot import the {what} {target!r}: {problem}.") from problem
    if not isinstance(kind, type):
        raise ConfigError(f"{target} is no {what}: it is {kind!r}, and must be a class.")
    return kind
