"""What is made and differentiated whatever the program has set in torch."""

import torch

from rlmaml.torch_state import differentiating, making_tensors, plain_defaults


def test_defaults_are_torchs_own_inside_and_the_programs_after():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            with plain_defaults():
                inside = torch.ones(2)
            after = torch.ones(2)
    finally:
        torch.set_default_dtype(torch.float32)
    assert (inside.dtype, inside.device.type) == (torch.float32, "cpu")
    assert (after.dtype, after.device.type) == (torch.float64, "meta")


def test_a_gradient_is_taken_in_any_mode():
    @differentiating
    def gradient():
        x = torch.ones((), requires_grad=True)
        return torch.autograd.grad(x**2, x)[0]

    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            assert gradient().item() == 2


def test_tensors_can_be_differentiated_later_and_have_no_graph():
    weight = torch.ones((), requires_grad=True)
    made = making_tensors(lambda: 2 * weight)
    with torch.inference_mode():
        inside = made()
    assert not inside.is_inference()
    assert not made().requires_grad
