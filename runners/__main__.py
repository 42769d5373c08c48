"""The command, whose parts take seconds to load: Ctrl-C is obeyed meanwhile, too."""

from __future__ import annotations

import sys

from runners.commands import HELP, usage


def main() -> None:
    """Run the command line (`runners.cli.main`)."""
    if tuple(sys.argv[1:]) in HELP:
        print(usage())
        return
    try:
        from runners.cli import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
