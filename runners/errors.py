"""Errors that are the user's to mend: one line, exit code 2, no traceback."""


class UsageError(ValueError):
    """Bad input: what was wrong, what came, what to do."""
