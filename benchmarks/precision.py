"""Errors of float32 and TF32 in a meta-gradient and in a curvature product.

    python -m benchmarks.precision [PRESET] [--device cuda]

Relative errors against float64, on one meta-batch of the preset at its initial parameters. On a CPU
TF32 is emulated: the factors of every matrix product are rounded to 10 bits of mantissa, which is
what the hardware does; sums are float32 in either.
"""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rlmaml import tree
from rlmaml.objective import fisher_product, gradient_and_reference
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.training.train import meta_batch

aten = torch.ops.aten
FACTORS = {aten.mm.default: 0, aten.bmm.default: 0, aten.addmm.default: 1, aten.baddbmm.default: 1}
"""Matrix products, and which argument is their first factor."""


class Tf32(TorchDispatchMode):
    """Rounds the factors of float32 products as TF32 does."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = FACTORS.get(func)
        if first is not None:
            factors = (rounded(factor) for factor in args[first : first + 2])
            args = (*args[:first], *factors, *args[first + 2 :])
        return func(*args, **(kwargs or {}))


def rounded(x: Tensor) -> Tensor:
    """To the nearest with 10 bits of mantissa, float32; others as they are."""
    if x.dtype is not torch.float32:
        return x
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="half-cheetah-vel")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    config = PRESETS[options.preset][1].changed({"device": options.device})
    experiment = build_experiment(config)
    method = experiment.algorithm
    state = method.init(experiment.params)
    batch = method.prepare(meta_batch(experiment, config, state.meta, 0))
    experiment.close()
    objective = method.objective(state)

    def results(meta: Any, batch: Any, v: Tensor | None) -> tuple[Tensor, Tensor]:
        _, gradient, ref = gradient_and_reference(objective, meta, batch)
        fraction = config.trust_region.fisher_fraction
        product = fisher_product(objective, meta, batch, ref, fraction=fraction)
        v = gradient if v is None else v
        return gradient.double(), product(v.to(gradient.dtype)).double()

    exact = results(*tree.map(torch.Tensor.double, (state.meta, batch)), None)
    result: dict[str, Any] = {}
    for name in ("float32", "tf32"):
        real = options.device != "cpu" and name == "tf32"
        torch.set_float32_matmul_precision("high" if real else "highest")
        with Tf32() if name == "tf32" and not real else nullcontext():
            gradient, image = results(state.meta, batch, exact[0])
        result[name] = {
            "meta-gradient": ((gradient - exact[0]).norm() / exact[0].norm()).item(),
            "curvature product": ((image - exact[1]).norm() / exact[1].norm()).item(),
        }
        for what, error in result[name].items():
            print(f"{name:<8}{what:<18}{error:.1e}")
    print(json.dumps({"preset": options.preset, "device": options.device, **result}))


if __name__ == "__main__":
    main()
