"""Checks of what commands are given, and the error of a training that could not go on."""

from rlmaml.errors import ConfigError


class TrainingStopped(RuntimeError):
    """Training could not go on: why, what is saved, and what to look at."""


class UnwrittenError(ConfigError):
    """Something was computed that could not be written.

    Args:
        problem: the reason.
        result: to be shown all the same.
    """

    def __init__(self, problem: Exception, result: object) -> None:
        super().__init__(str(problem))
        self.result = result


_MOST = {"tasks": 10**6, "episodes": 10**6, "queries": 10**6, "size": 10**4}
_MOST |= dict.fromkeys(("seed", "seeds"), 2**63 - 1)
"""Most that options may be given as, by name; of others it is `_ANY`."""
_ANY = 10**8


def require_at_least(least: int, **options: int | None) -> None:
    """Check that options are given as at least so much, and no more than is sense, or not at all.

    Raises:
        ConfigError: the first that is not.
    """
    for name, value in options.items():
        if value is None:
            continue
        option, most = f"--{name.replace('_', '-')}", _MOST.get(name, _ANY)
        if value < least:
            raise ConfigError(f"{option} must be at least {least}, got {value}.")
        if value > most:
            raise ConfigError(f"{option} must be at most {most:,}, got {value}.")
