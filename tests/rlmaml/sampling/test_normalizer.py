"""Running statistics of observations: against all data at once, and when they change."""

import torch

from rlmaml.sampling.normalizer import Normalizer


def test_normalizer_against_all_data_at_once():
    normalizer = Normalizer((3,))
    batches = [5 + 2 * torch.randn(4, 7, 3), -1 + torch.randn(2, 7, 3)]
    masks = [torch.ones(4, 7), (torch.arange(7) < 3).float().expand(2, 7)]
    for x, mask in zip(batches, masks, strict=True):
        normalizer.observe(x, mask)
        torch.testing.assert_close(normalizer(torch.zeros(3)), torch.zeros(3))  # frozen
    normalizer.commit()
    everything = torch.cat([x[mask > 0] for x, mask in zip(batches, masks, strict=True)])
    standardized = normalizer(everything)
    torch.testing.assert_close(standardized.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardized.std(0, unbiased=False), torch.ones(3))
    copy = Normalizer((3,))
    copy.load_state_dict(normalizer.state_dict())
    assert torch.equal(copy(everything), standardized)


def test_what_was_noted_is_folded_in_once():
    normalizer = Normalizer((3,))
    normalizer.observe(5 + 2 * torch.randn(4, 7, 3), torch.ones(4, 7))
    normalizer.commit()
    before = {name: value.clone() for name, value in normalizer.state_dict().items()}
    normalizer.commit()
    for name, value in normalizer.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert before["count"] == 28
    normalizer.observe(torch.zeros(2, 3), torch.ones(2))
    normalizer.commit()
    assert normalizer.count == 30


def test_loading_forgets_what_was_noted():
    normalizer = Normalizer((3,))
    kept = normalizer.state_dict()
    normalizer.observe(torch.randn(4, 7, 3), torch.ones(4, 7))
    normalizer.load_state_dict(kept)
    normalizer.commit()
    assert normalizer.count == 0


def test_what_a_task_adds_does_not_depend_on_its_neighbors():
    x, mask = torch.randn(5, 7, 9, 3), (torch.rand(5, 7, 9) < 0.7).float()
    together, apart = Normalizer((3,)), Normalizer((3,))
    together.observe(x, mask)
    for some in (slice(0, 2), slice(2, 5)):
        apart.observe(x[some], mask[some])
    for each in (together, apart):
        each.commit()
    for name, value in together.state_dict().items():
        assert torch.equal(value, apart.state_dict()[name]), name
