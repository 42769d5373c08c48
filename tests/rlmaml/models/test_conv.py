"""The convolutional classifier: batch norm, its statistics, gradients through it."""

import pytest
import torch
from torch import nn

from rlmaml import ConvClassifier, ConvConfig, losses, models, tree
from rlmaml.adjoints import unrolled
from rlmaml.inner import gradient_descent
from rlmaml.objective import Objective, fisher_product, meta_gradient, reference
from rlmaml.types import Examples, InputsWithStatistics, MetaBatch
from tests.helpers.problems import at_end, mean_outer_loss, one

ALPHA = 0.3


def convolutional(batch_norm="transductive", **settings):
    torch.manual_seed(1)
    config = ConvConfig(filters=5, batch_norm=batch_norm, **settings)
    return ConvClassifier((2, 17, 17), 3, config)


@pytest.mark.parametrize("downsample", ["pool", "stride"])
def test_conv_classifier_against_torch_layers(downsample):
    ours = convolutional(downsample=downsample)
    with torch.no_grad():
        for block in ours.blocks:  # not the identity that it starts as
            block.norm.weight.uniform_(0.5, 2)
            block.norm.bias.uniform_(-1, 1)
    layers, channels = [], 2
    for block in ours.blocks:
        stride = 1 if downsample == "pool" else 2
        convolution = nn.Conv2d(channels, 5, 3, stride=stride, padding=1)
        convolution.load_state_dict(block.convolution.state_dict())
        norm = nn.BatchNorm2d(5, track_running_stats=False)
        norm.load_state_dict(block.norm.state_dict())
        layers += [convolution, norm, nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if downsample == "pool" else []
        channels = 5
    theirs = nn.Sequential(*layers, nn.Flatten(), ours.logits)
    x = torch.randn(6, 2, 17, 17)
    assert torch.allclose(ours(x).logits, theirs(x), atol=1e-5)


def test_who_sees_whom_through_batch_norm():
    """A query's prediction depends on the other queries, or on the support set, as asked."""
    model = convolutional()
    support, queries = torch.randn(4, 2, 17, 17), torch.randn(6, 2, 17, 17)
    together, alone = model(queries).logits, model(queries[:3]).logits
    assert not torch.allclose(together[:3], alone, atol=1e-3)
    together = model(InputsWithStatistics(queries, support)).logits
    alone = model(InputsWithStatistics(queries[:3], support)).logits
    assert together.shape == (6, 3)
    assert torch.allclose(together[:3], alone, atol=1e-5)
    other = model(InputsWithStatistics(queries, support + torch.randn_like(support))).logits
    assert not torch.allclose(together, other, atol=1e-3)
    # The support examples themselves see just one another in either way.
    assert torch.allclose(
        model(support).logits, model(InputsWithStatistics(support, support)).logits, atol=1e-5
    )


def problem(batch_norm, shots, queries):
    """Noise images in float64 with these labels [N, B]: an objective, meta-parameters, a batch."""
    model = convolutional(batch_norm, blocks=2, downsample="stride").double()
    policy = models.functional(model)
    loss = losses.cross_entropy(policy)
    x, query_x = (
        torch.randn(*labels.shape, 2, 17, 17, dtype=torch.float64) for labels in (shots, queries)
    )
    inputs = InputsWithStatistics(query_x, x) if batch_norm == "support" else query_x
    batch = MetaBatch((Examples(x, shots),), Examples(inputs, queries))
    objective = Objective(gradient_descent(loss, ALPHA), unrolled, at_end(loss), policy)
    return objective, {"params": models.parameters(model)}, batch


@pytest.mark.parametrize("batch_norm", ["transductive", "support"])
def test_conv_meta_gradient_against_finite_differences(batch_norm):
    """float64, through batch norm in both steps, all tasks stacked against one by one."""
    objective, meta, batch = problem(
        batch_norm, torch.arange(3).repeat(3, 2), torch.randint(3, (3, 4))
    )
    theta, unravel = tree.ravel(meta)
    gradient = meta_gradient(objective, meta, batch)[1]
    for direction in torch.randn(3, len(theta), dtype=torch.float64):
        h = 1e-8  # below the distance to the nearest kink of a ReLU
        ahead, behind = (
            mean_outer_loss(objective, unravel(theta + sign * h * direction), batch)
            for sign in (1, -1)
        )
        slope = (ahead - behind) / (2 * h)
        assert torch.isclose(gradient @ direction, slope, rtol=1e-5, atol=1e-7)
    # The trust region's part of the data keeps the whole reference.
    part = one(batch.query, 0).part(0.5)
    assert len(part.targets) == 2
    if batch_norm == "support":
        assert len(part.inputs.inputs) == 2
        assert len(part.inputs.reference) == 6


@pytest.mark.parametrize("batch_norm", ["transductive", "support"])
def test_curvature_on_a_fraction_keeps_the_shots_whole(batch_norm):
    """One shot a class: the products on a part of the queries stay near those on all of them."""
    shots, queries = torch.arange(3).expand(4, -1), torch.arange(3).repeat(10).expand(4, -1)
    objective, meta, batch = problem(batch_norm, shots, queries)
    ref = reference(objective, meta, batch)
    whole, part = (fisher_product(objective, meta, batch, ref, fraction=f) for f in (1.0, 0.5))
    v = meta_gradient(objective, meta, batch)[1]
    ratio = (v @ part(v)) / (v @ whole(v))
    assert 0.5 < ratio < 2, ratio


def test_images_too_small_for_pooling_are_refused():
    with pytest.raises(ValueError, match=r"8 x 8 cannot be halved 4 times"):
        ConvClassifier((1, 8, 8), 3)
    assert ConvClassifier((1, 8, 8), 3, ConvConfig(downsample="stride"))(
        torch.randn(2, 1, 8, 8)
    ).logits.shape == (2, 3)
