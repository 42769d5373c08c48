"""The command line: a row for each command, which is one function documented once."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import tyro

import rlmaml
from rlmaml import trust
from rlmaml.errors import ConfigError
from runners import console, io
from runners.errors import UnwrittenError
from runners.formatting import one_line, printable
from runners.options import STYLE

COMMANDS: dict[str, str] = {
    "train": "runners.training.command:train_command",
    "evaluate": "runners.evaluation.evaluate:evaluate",
    "compare": "runners.evaluation.compare_algorithms:compare",
    "reproduce": "runners.studies.reproduce:reproduce",
    "theory": "runners.studies.convergence.study:theory",
    "render": "runners.rendering.video:render",
    "report": "runners.reporting.report:report",
    "export": "runners.export.export:export",
    "list": "runners.presets:list_presets",
}
"""Location of each command's function. Its signature and docstring are the command's options and
help; what it returns is printed."""

PARSE_THEMSELVES = frozenset({"train"})
"""Commands whose options depend on what is trained, and which read them themselves."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exit codes: 0, 2 (bad input), 130/143 (stopped, saved)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    console.prepare()
    if os.getcwd() not in sys.path:  # modules of one's own, which the console script would not find
        sys.path.append(os.getcwd())
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(usage())
        else:
            trusted = TRUST in arguments
            rest = [word for word in arguments if word != TRUST]
            with trust.trusting(trusted), trust.naming(_named(rest)):
                _run(rest, io.running(arguments))
    except UnwrittenError as problem:
        print(printable(str(problem.result)))
        _refuse(problem)
    except (ConfigError, FloatingPointError) as problem:
        _refuse(problem)
    except BrokenPipeError:  # `rlmaml evaluate DIR | head`: the rest of the output is not wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as problem:
        if problem.errno not in _OF_DISKS:
            raise
        _refuse(ConfigError(f"{problem.filename or 'A file'}: {problem.strerror}."))
    except ValueError as problem:
        from runners.environments import data_error

        if not isinstance(problem, data_error()):
            raise
        _refuse(problem)


def usage() -> str:
    """Text that `rlmaml --help` prints: the commands, each with the first line of its docstring."""
    width = max(map(len, COMMANDS))
    summaries = {
        name: (_function(location).__doc__ or "").split("\n")[0]
        for name, location in COMMANDS.items()
    }
    lines = [f"  rlmaml {name:<{width}}  {summary}" for name, summary in summaries.items()]
    return "\n".join(
        [
            (rlmaml.__doc__ or "").split("\n")[0],
            "",
            *lines,
            "",
            "`rlmaml train PRESET --help`, and the others with --help, explain every option.",
            "--trust, of any command: import the modules that a run's files name (MODULE:CLASS).",
        ]
    )


_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""Errors of the system that say that nothing more can be written."""
TRUST = "--trust"
"""The option of every command that trusts what is read (`rlmaml.trust`)."""
_NAMING = ("--algorithm", "--algorithms", "--outer", "--env.id")


def _named(arguments: list[str]) -> list[str]:
    """The modules that options name, as MODULE:CLASS or MODULE:ID."""
    modules = []
    option = ""
    for word in arguments:
        if word.startswith("--"):
            option, _, word = word.partition("=")
        if option in _NAMING:
            modules += [word.rpartition(":")[0]] * (":" in word)
    return modules


def _run(arguments: list[str], noted: contextlib.AbstractContextManager[None]) -> None:
    name, *arguments = arguments or [""]
    if name not in COMMANDS:
        raise ConfigError(f"Unknown command {name!r}: use {', '.join(COMMANDS)}.")
    with noted:
        function = _function(COMMANDS[name])
        if name in PARSE_THEMSELVES:
            result = function(arguments)
        else:
            result = _call(function, arguments, name)
    if result is not None:
        print(printable(str(result)))


def _call(function: Callable[..., object], arguments: list[str], name: str) -> object:
    """Read a function's arguments, and only then call it: tyro takes any ValueError for its own."""

    @functools.wraps(function)
    def deferred(*given: object, **options: object) -> Callable[[], object]:
        return functools.partial(function, *given, **options)

    call: Any = tyro.cli(deferred, args=arguments, prog=f"rlmaml {name}", config=STYLE)
    return call()


def _function(location: str) -> Callable[..., Any]:
    module, _, member = location.partition(":")
    return getattr(importlib.import_module(module), member)


def _refuse(problem: Exception) -> NoReturn:
    print(f"rlmaml: {one_line(str(problem))}", file=sys.stderr)
    raise SystemExit(2) from None
