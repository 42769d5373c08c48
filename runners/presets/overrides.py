"""TODO by another branch."""


def with_algorithm(config, name, settings=None):
    return config.with_algorithm(name, settings)
