"""Errors that are the user's to mend."""


class ConfigError(ValueError):
    """Bad input: what was wrong, what came, what to do."""


class EnvironmentFault(FloatingPointError):
    """An environment, or a family of examples, gave numbers that are not finite."""
