"""The command, whose parts take seconds to load: Ctrl-C is obeyed meanwhile, too."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback

from runners.command_line import kept_help
from runners.command_line.commands import HELP, usage


def main() -> None:
    """Run the command line (`runners.command_line.cli.main`)."""
    text = usage() if tuple(sys.argv[1:]) in HELP else kept_help.kept(sys.argv[1:])
    if text is not None:
        _print(text)
        return
    try:
        with kept_help.keeping(sys.argv[1:]):
            from runners.command_line.cli import main as run

            run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        sending = sys.modules.get("runners.tracking.sending")
        if sending is not None and sending.any_dropped():
            _end_at_once(sys.exception())


def _print(text: str) -> None:
    try:
        print(text.removesuffix("\n"), flush=True)
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(problem, BrokenPipeError):  # `rlmaml --help | head`
            raise SystemExit(f"What was to be printed is lost: {problem.strerror}.") from None


def _end_at_once(problem: BaseException | None) -> None:
    """End without the handlers of packages, which would wait for a server that does not answer."""
    code = 0
    if isinstance(problem, SystemExit):
        code = problem.code if isinstance(problem.code, int) else int(problem.code is not None)
    elif problem is not None:
        traceback.print_exception(problem)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
