"""The command line: reads a command's options, runs it, and tells what went wrong."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import tyro

from rlmaml import processes, trust
from rlmaml.errors import ConfigError
from rlmaml.processes import ProcessLostError
from runners import io
from runners.command_line import console
from runners.command_line.commands import COMMANDS, HELP, usage
from runners.command_line.options import STYLE
from runners.command_line.terminal import UNHEARD, Guarded, guarded, say
from runners.errors import TrainingStopped, UnwrittenError
from runners.formatting import one_line, printable
from runners.workers import ended_workers

DIVIDED = frozenset({"train", "evaluate"})
"""Commands whose tasks several processes can share."""

PARSE_THEMSELVES = frozenset({"train"})
"""Commands whose options depend on what is trained, and which read them themselves."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Exit codes: 0, done; 1, an error, before which a training has been saved; 2, bad input, or what
    the user is to mend otherwise, told in one line; 129, 130 and 143, stopped by SIGHUP, SIGINT or
    SIGTERM, a training after saving.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    console.prepare()
    if os.getcwd() not in sys.path:  # modules of one's own, which the console script would not find
        sys.path.append(os.getcwd())
    with guarded() as out:
        try:
            if not arguments or (arguments[0],) in HELP:
                print(usage())
            else:
                trusted = TRUST in arguments
                rest = [word for word in arguments if word != TRUST]
                with trust.trusting(trusted), trust.naming(_named(rest)):
                    _run(rest, io.running(arguments))
        except KeyboardInterrupt:
            raise SystemExit(128 + signal.SIGINT) from None
        except SystemExit as end:
            if not end.code:  # help
                _check_heard(out, arguments)
            raise
        except Exception as problem:
            code = _exit_code(problem)
            if code is None:
                raise
            if isinstance(problem, UnwrittenError):
                print(printable(str(problem.result)))
            _end(ended_workers(problem) or _told(problem), code)
        _check_heard(out, arguments)


def _exit_code(problem: Exception) -> int | None:
    """The code of an error that is told in one line; None of one that needs its traceback."""
    if isinstance(problem, ConfigError | FloatingPointError):
        return 2
    if (
        isinstance(problem, TrainingStopped | ProcessLostError)
        or ended_workers(problem) is not None
    ):
        return 1
    if isinstance(problem, OSError):
        return 2 if problem.errno in _OF_DISKS else None
    if isinstance(problem, ValueError):
        from runners.environments import data_error

        return 2 if isinstance(problem, data_error()) else None
    return None


def _check_heard(out: Guarded, arguments: list[str]) -> None:
    """End with code 1 if what a command had to print is lost; a training's work is its files."""
    out.flush()
    lost = out.problem
    if lost is None or lost.errno in UNHEARD or arguments[:1] == ["train"]:
        return  # `rlmaml evaluate DIR | head`: the rest of the output is not wanted
    _end(f"What was to be printed is lost: {lost.strerror}.", 1)


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
    if processes.started() > 1 and name not in DIVIDED:
        raise ConfigError(
            f"{name} runs in one process, and torchrun started {processes.started()}: leave out "
            f"torchrun. It is for {', '.join(sorted(DIVIDED))}."
        )
    with noted:
        function = _function(COMMANDS[name])
        if name in PARSE_THEMSELVES:
            result = function(arguments)
        else:
            result = _call(function, arguments, name)
    if result is not None and processes.is_first():
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


def _told(problem: Exception) -> str:
    """An error in words; the system's own with the file that it is about."""
    if isinstance(problem, OSError):
        return f"{problem.filename or 'A file'}: {problem.strerror}."
    return str(problem)


def _end(message: str, code: int) -> NoReturn:
    who = f" ({name})" if (name := processes.name()) else ""
    say(f"rlmaml{who}: {one_line(message)}", everywhere=True)
    raise SystemExit(code) from None
