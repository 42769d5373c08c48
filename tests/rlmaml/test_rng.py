"""Draws are keyed by what they are for."""

from rlmaml.rng import Phase, generator


def test_equal_keys_draw_the_same_and_others_something_else():
    def draw(*key):
        return generator(*key).integers(2**31)

    assert draw(0, 5, Phase.TASKS) == draw(0, 5, Phase.TASKS)
    keys = [(0, 5), (0, 5, 0), (0, 5, 1), (0, 5, 0, 0), (5, 0), (1, 5), (0, 6)]
    assert len({draw(*key) for key in keys}) == len(keys)
