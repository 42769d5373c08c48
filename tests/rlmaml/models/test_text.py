"""Text classifiers: shapes, padding, gradients through them, and learning with them."""

import gymnasium
import numpy as np
import pytest
import torch

from rlmaml import (
    BagOfEmbeddings,
    TextConfig,
    TextTransformer,
    losses,
    models,
    tree,
)
from rlmaml.adjoints import unrolled
from rlmaml.inner import gradient_descent
from rlmaml.models.text import token_count
from rlmaml.objective import Objective, meta_gradient
from rlmaml.types import Examples, MetaBatch
from tests.helpers.problems import at_end, mean_outer_loss

KINDS = ("bag", "transformer")


TOKENS, LENGTH, WAY = 11, 7, 3


def network(kind, **settings):
    torch.manual_seed(1)
    config = TextConfig(
        model=kind, **{"dimension": 8, "hidden": (6,), "feedforward": 6, "heads": 2, **settings}
    )
    space = gymnasium.spaces.Box(0, TOKENS - 1, (LENGTH,), np.int64)
    outputs = gymnasium.spaces.Discrete(WAY)
    return models.predictor_for(
        (LENGTH,), outputs, models.PolicyConfig(), models.ConvConfig(), config, token_count(space)
    )


def texts(*shape, seed=0):
    """Ids [*shape, LENGTH] of one to LENGTH words."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, TOKENS, (*shape, LENGTH), generator=rng)
    counts = torch.randint(1, LENGTH + 1, (*shape, 1), generator=rng)
    return ids * (torch.arange(LENGTH) < counts)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_kinds(kind):
    model = network(kind)
    assert isinstance(model, BagOfEmbeddings if kind == "bag" else TextTransformer)
    assert model(texts(4)).logits.shape == (4, WAY)
    assert model(texts(2, 5)).logits.shape == (2, 5, WAY)
    assert model(texts()).logits.shape == (WAY,)
    torch.testing.assert_close(model(texts(2, 5)).logits[1], model(texts(2, 5)[1]).logits)
    assert models.parameters(model)  # no buffers
    assert network(kind, hidden=(), layers=2)(texts(4)).logits.shape == (4, WAY)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind):
    model = network(kind, layers=2).double()
    short = texts(6)[:, :4]
    long = torch.cat([short, torch.zeros(6, LENGTH - 4, dtype=torch.long)], 1)
    torch.testing.assert_close(model(long).logits, model(short).logits)
    with torch.no_grad():
        model.words.weight[0] += 100.0  # the padding's own embedding is never seen
    torch.testing.assert_close(model(long).logits, model(short).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_of_padding_only_is_no_nan(kind):
    model = network(kind)
    loss = model(torch.zeros(2, LENGTH, dtype=torch.long)).logits.square().sum()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_only_the_transformer_sees_the_order():
    ids = torch.tensor([[3, 4, 5, 0, 0, 0, 0], [5, 4, 3, 0, 0, 0, 0]])
    bag, transformer = (network(kind)(ids).logits for kind in KINDS)
    torch.testing.assert_close(bag[0], bag[1])
    assert (transformer[0] - transformer[1]).abs().max() > 1e-3


def test_attention_against_torch():
    """The block's attention is torch's, with the same weights and mask."""
    block = network("transformer").blocks[0].double()
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(
        {
            "in_proj_weight": block.attention.weight,
            "in_proj_bias": block.attention.bias,
            "out_proj.weight": block.output.weight,
            "out_proj.bias": block.output.bias,
        }
    )
    x, present = torch.randn(5, LENGTH, 8, dtype=torch.float64), texts(5) != 0
    expected = theirs(x, x, x, key_padding_mask=~present, need_weights=False)[0]
    torch.testing.assert_close(block.output(block._attend(x, present)), expected)
    norm = torch.nn.LayerNorm(8, dtype=torch.float64)
    torch.testing.assert_close(block.before_hidden(x), norm(x))


@pytest.mark.parametrize("kind", KINDS)
def test_meta_gradient_against_finite_differences(kind):
    """float64, second order through two inner steps, all tasks stacked against one by one."""
    model = network(kind).double()
    policy = models.functional(model)
    loss = losses.cross_entropy(policy)
    x, query_x = texts(3, 6, seed=1), texts(3, 4, seed=2)
    query_x[0, 0] = 0  # a text of nothing
    support = Examples(x, torch.arange(WAY).repeat(3, 2))
    batch = MetaBatch((support, support), Examples(query_x, torch.randint(WAY, (3, 4))))
    objective = Objective(gradient_descent(loss, 0.5), unrolled, at_end(loss), policy)
    meta = {"params": models.parameters(model)}
    theta, unravel = tree.ravel(meta)
    gradient = meta_gradient(objective, meta, batch)[1]
    for direction in torch.randn(3, len(theta), dtype=torch.float64):
        h = 1e-5
        ahead, behind = (
            mean_outer_loss(objective, unravel(theta + sign * h * direction), batch)
            for sign in (1, -1)
        )
        slope = (ahead - behind) / (2 * h)
        assert torch.isclose(gradient @ direction, slope, rtol=1e-6, atol=1e-9)


def test_token_counts():
    box = gymnasium.spaces.Box
    assert token_count(box(0, 9, (3,), np.int64)) == 10
    assert token_count(box(0, 9, (3,), np.float32)) is None
    assert token_count(box(0, 255, (3, 8, 8), np.uint8)) is None
    assert token_count(gymnasium.spaces.Discrete(3)) is None
    with pytest.raises(ValueError, match="from -1 to 9"):
        token_count(box(-1, 9, (3,), np.int64))
    with pytest.raises(ValueError, match="token ids"):
        token_count(box(0, 2**40, (3,), np.int64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dimension": 0}, r"text\.dimension must be at least 1"),
        ({"layers": 0}, r"text\.layers must be at least 1"),
        ({"hidden": (3, 0)}, r"text\.hidden needs widths"),
        ({"model": "transformer", "dimension": 10, "heads": 4}, "a multiple of text.heads"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TextConfig(**settings)
