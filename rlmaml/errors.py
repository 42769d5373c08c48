"""Errors that are the user's to mend."""


class ConfigError(ValueError):
    """Bad input: what was wrong, what came, what to do."""


class DamageWarning(UserWarning):
    """Something of a run is damaged, and was left out or something older was taken."""


class EnvironmentFault(FloatingPointError):
    """An environment, or a family of examples, gave numbers that are not finite."""
