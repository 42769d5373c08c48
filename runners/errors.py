"""Checks of what commands are given, and the error of a training that could not go on."""

from rlmaml.errors import ConfigError


class TrainingStopped(RuntimeError):
    """Training could not go on: why, what is saved, and what to look at."""


def require_at_least(least: int, **options: int | None) -> None:
    """Check that options are given as at least so much, or not at all.

    Raises:
        ConfigError: the first that is not.
    """
    for name, value in options.items():
        if value is not None and value < least:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least {least}, got {value}.")
