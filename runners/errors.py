"""Errors that are the user's to mend: one line, exit code 2, no traceback."""


class UsageError(ValueError):
    """Bad input: what was wrong, what came, what to do."""


def check_least(least: int, **options: int | None) -> None:
    """Whether options are given as at least so much, or not at all.

    Raises:
        UsageError: the first that is not.
    """
    for name, value in options.items():
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}, got {value}.")
