"""Errors that are the user's to mend."""


class ConfigError(ValueError):
    """Bad input: what was wrong, what came, what to do."""
