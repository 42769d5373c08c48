"""A configuration's fields as options of the command line, and what was said of them there."""

from __future__ import annotations

import dataclasses
import functools
import json
import typing
from typing import Annotated, Any, TypedDict

import docstring_parser
import tyro
from tyro.constructors import PrimitiveConstructorSpec

from rlmaml import json_files
from runners.formatting import printable

# An option is `--name value` for every field, and `--name` alone for what is true or false of a
# command.
STYLE = (tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands)
HIDDEN = frozenset({"preset", "algorithm", "outer"})
"""Fields of a configuration that are no options: they choose which options there are."""


def options_type(config: Any, only: frozenset[str] | None = None) -> Any:
    """The type that tyro reads the options of a configuration into.

    It is a dictionary with the keys that were given and no others, so that what was said on the
    command line is known from what was left as it is. Defaults in the help are the configuration's.

    Args:
        config: a dataclass, nested ones included, with a sentence under every field.
        only: the options that there are to be, by name, or groups of them; all if not given.
    """
    members = _typed_dict(config, HIDDEN, only)
    return Annotated[members, tyro.conf.arg(name=""), tyro.conf.FlagConversionOff]


def _typed_dict(
    config: Any, hidden: frozenset[str] = frozenset(), only: frozenset[str] | None = None
) -> Any:
    hints, sentences = typing.get_type_hints(type(config)), field_sentences(type(config))
    members: dict[str, Any] = {}
    for each in dataclasses.fields(config):
        if each.name in hidden:
            continue
        value, sentence = getattr(config, each.name), sentences.get(each.name, "")
        if each.name == "outer_settings" and value is None:
            continue
        if dataclasses.is_dataclass(value):
            inside = None if only is None or each.name in only else _within(only, each.name)
            if inside is None or inside:
                nested = _typed_dict(value, only=inside)
                members[each.name] = Annotated[nested, tyro.conf.arg(help=sentence)]
            continue
        if only is not None and each.name not in only:
            continue
        hint = f"(default: {_shown(value)})"
        argument = tyro.conf.arg(help=sentence, help_behavior_hint=hint)
        if isinstance(value, dict):
            members[each.name] = Annotated[dict, _JSON, argument]
        else:
            members[each.name] = Annotated[hints[each.name], argument]
    return TypedDict(type(config).__name__, members, total=False)  # pyright: ignore[reportArgumentType]  made when run


def _within(names: frozenset[str], group: str) -> frozenset[str]:
    """The names of a group's members."""
    before = f"{group}."
    return frozenset(name.removeprefix(before) for name in names if name.startswith(before))


@functools.cache  # reading the source takes longer than all else of a command line
def field_sentences(cls: type) -> dict[str, str]:
    """The sentence under each field of a dataclass, those of its bases included."""
    sentences: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            described = docstring_parser.parse_from_object(base).params
            sentences |= {
                each.arg_name: " ".join((each.description or "").split()) for each in described
            }
    return sentences


def _parse_object(texts: list[str]) -> dict[str, Any]:
    value = json_files.parse(texts[0].encode())
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object like '{{\"frame_skip\": 1}}', got {texts[0]}")
    return value


_JSON = PrimitiveConstructorSpec(
    nargs=1,
    metavar="JSON",
    instance_from_str=_parse_object,
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda value: [json.dumps(value)],
)


def _shown(value: Any) -> str:
    """A default as it would be given."""
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return " ".join(map(_shown, value)) or "none"
    return printable(str(value))
