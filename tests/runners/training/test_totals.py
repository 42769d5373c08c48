"""What a run counts up."""

from dataclasses import asdict

from runners.training.totals import Totals


def test_scores_that_are_not_finite_are_ignored():
    totals = Totals()
    for score, iteration in ((float("nan"), 10), (0.5, 20), (float("inf"), 30)):
        totals = totals.noted(score, iteration, by="training", higher_is_better=True)
    assert (totals.best_score, totals.best_iteration) == (0.5, 20)


def test_the_best_is_the_highest_or_the_lowest_of_those_measured_alike():
    totals = Totals()
    for score, iteration in ((3.0, 10), (1.0, 20), (2.0, 30)):
        totals = totals.noted(score, iteration, by="training", higher_is_better=False)
    assert (totals.best_score, totals.best_iteration) == (1.0, 20)
    totals = totals.noted(5.0, 40, by="validation on 3 tasks", higher_is_better=False)
    assert (totals.best_score, totals.best_by) == (5.0, "validation on 3 tasks")


def test_they_add_up_and_survive_a_checkpoint():
    totals = Totals().after(10, 1.5).after(20, 4.0)
    assert (totals.env_steps, totals.seconds) == (30, 4.0)
    assert Totals.from_dict(asdict(totals) | {"of another version": 1}) == totals


def test_refusals_are_counted_in_all_in_a_row_and_by_reason():
    totals = Totals()
    for reason in ("a", "b", None, "a"):
        totals = totals.judged(reason)
    assert (totals.refused, totals.refused_in_a_row) == (3, 1)
    assert totals.refusals == {"a": 2, "b": 1}
    for number in range(1000):  # an outer step of one's own may word each anew
        totals = totals.judged(f"norm {number}")
    assert len(totals.refusals) < 20
    assert sum(totals.refusals.values()) == totals.refused == 1003
