"""A trial of somebody's module: a call or two before the first, to say what is wrong with it.

Inputs are made up, of the shape and type that were asked for, and parameters are the module's own.
No transform of `torch.func` that is at work sees the trial, and no random number is used up.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from rlmaml import tree
from rlmaml.distributions import Categorical, Gaussian, advice, described, is_distribution
from rlmaml.errors import ConfigError
from rlmaml.models.norms import NORMS
from rlmaml.types import Inputs, Params

Call = Callable[[Params, Inputs], Any]


class Traits(NamedTuple):
    """The facts of a module that its calls depend on."""

    attention: bool = False  # without the fused kernels, which have no second derivative
    norms: bool = False  # with scale and shift apart: `rlmaml.models.norms`
    decomposed: bool = False  # operations that `vmap` knows only in parts: recurrent layers
    broadcast: bool = False  # a distribution whose fields have to be expanded to one shape
    flatten: int = 0  # leading dimensions that the module takes only as one


ADVICE = {
    r"random(ness)? (operation|error)": (
        "draws random numbers in its forward. A loss that differs from call to call has no "
        "gradient to follow: call module.eval(), set p=0, or take the draws out."
    ),
    r"\.item\(\)|data-dependent control flow|Cannot access data pointer": (
        "reads numbers out of tensors in its forward (.item(), .tolist(), .numpy(), float(), or an "
        "`if`, `while` or `assert` on a tensor). No derivative goes through these and tasks cannot "
        "be stacked: write it with tensors (torch.where, clamp, a mask)."
    ),
    r"Sparse|sparse tensors": (
        "has layers with sparse gradients, which cannot be differentiated again: make them with "
        "sparse=False."
    ),
    r"dynamic shape": (
        "makes tensors whose shape depends on the data (x[x > 0], nonzero, unique), so that tasks "
        "cannot be stacked: use torch.where or a mask."
    ),
    r"vmap: inplace|mutate a captured|doesn't match the broadcast shape": (
        "writes in place to a tensor that is not made of its inputs (a buffer, a cache, or one of "
        "torch.zeros): make a new tensor, by torch.stack, torch.cat or torch.where."
    ),
    r"saved tensor hooks|CheckpointFunction": (
        "uses activation checkpointing (torch.utils.checkpoint), which torch.func cannot "
        "differentiate: call the layers directly."
    ),
    r"setup_context": (
        "uses a torch.autograd.Function that torch.func cannot differentiate: give it forward and "
        "setup_context apart, and generate_vmap_rule = True. (Reentrant activation checkpointing "
        "is one: leave that out.)"
    ),
    r"does not have vmap support": (
        "uses a torch.autograd.Function that cannot be computed for several tasks at once: set its "
        "generate_vmap_rule = True."
    ),
    r"once_differentiable|derivative for .* is not implemented|[Dd]ouble backward": (
        "has an operation without a second derivative, which goes through an inner step: replace "
        "it, or take an algorithm of first derivatives (fo-maml, reptile)."
    ),
}
"""What to do about a network, by what torch says of it."""


def explained(problem: Exception, name: str = "") -> ConfigError | None:
    """A refusal in one line of what torch makes of a network; None if it is nothing known."""
    said = f"{type(problem).__name__}: {problem}"
    for pattern, what in ADVICE.items():
        if isinstance(problem, RuntimeError) and re.search(pattern, said):
            return ConfigError(f"The network{name and f' {name}'} {what}")
    return None


def examine(
    module: nn.Module,
    call: Callable[[Traits], Call],
    params: Params,
    inputs: Inputs,
    leading: int | None = None,
) -> Traits:
    """Try a module: what it returns, that it repeats itself, derivatives, and several tasks.

    What fails in a way that is not known here is left to fail in earnest.

    Args:
        module: the module.
        call: makes (parameters, inputs) -> distribution, by traits.
        params: the parameters that it will be called with, of which shapes and types are used.
        inputs: the inputs likewise, [..., *x].
        leading: how many dimensions are before those of an input; at least one if None.

    Raises:
        ConfigError: a network that cannot be meta-trained.
    """
    with temporarily_clear_interpreter_stack(), torch.inference_mode(False), torch.enable_grad():
        try:
            own = _own(module, params)
            with _kept_generators(next(iter(own.values())).device):
                few = tree.map(partial(_made_up, rows=2), inputs)
                try:
                    return _Trial(module, call, own, few, leading).run()
                except Exception:  # perhaps the number of rows matters
                    made = tree.map(_made_up, inputs)
                    return _Trial(module, call, own, made, leading).run()
        except ConfigError:
            raise
        except Exception:  # nothing that a trial knows: the call itself will tell
            return Traits()


class _Trial:
    def __init__(
        self,
        module: nn.Module,
        call: Callable[[Traits], Call],
        params: Params,
        inputs: Inputs,
        leading: int | None,
    ) -> None:
        self.module, self.call, self.params, self.inputs = module, call, params, inputs
        self.name, self.leading = type(module).__name__, leading
        self.like = tree.leaves(inputs)[0]

    def run(self) -> Traits:
        traits = Traits(attention=any(isinstance(m, ATTENTION) for m in self.module.modules()))
        traits, output = self._returned(traits)
        self._check_rows(traits, output)
        self._check_derivative(output)
        return self._stacked(traits)

    def _refuse(self, what: str) -> ConfigError:
        return ConfigError(f"The network {self.name} {what}")

    def _returned(self, traits: Traits) -> tuple[Traits, Any]:
        """Call it twice, for what it returns and whether that is the same."""
        drawn = _generators(self.like.device)
        given = [leaf._version for leaf in tree.leaves(self.inputs)]
        try:
            with _Seen() as seen:
                output = self.call(traits)(self.params, self.inputs)
        except Exception as problem:
            if self.leading is not None and self.leading > 1 and not traits.flatten:
                try:
                    return self._returned(traits._replace(flatten=self.leading))
                except Exception:  # not for that reason
                    pass
            raise self._uncallable(problem) or problem from problem
        if given != [leaf._version for leaf in tree.leaves(self.inputs)]:
            raise self._refuse(
                "writes in place to its inputs: make a new tensor (x = x.clamp(...))."
            )
        traits = traits._replace(attention=traits.attention or seen.attention, norms=seen.norms)
        kinds = {str(value.dtype) for value in self.params.values()}
        if len(kinds) > 1:
            raise self._refuse(
                f"has parameters of several types ({', '.join(sorted(kinds))}): make them one, by "
                "module.float(), or freeze some by requires_grad_(False)."
            )
        try:
            traits = traits._replace(broadcast=self._check_fields(output))
        except ConfigError:
            if self.leading is None or self.leading < 2 or traits.flatten:
                raise
            return self._returned(traits._replace(flatten=self.leading))  # rows in one dimension
        again = self.call(traits)(self.params, self.inputs)
        if not _same(drawn, _generators(self.like.device)):
            raise self._refuse(f"{_active_dropout(self.module)}{ADVICE[_RANDOM]}")
        output = self.call(traits)(self.params, self.inputs)
        if not all(
            torch.allclose(one, other, 1e-4, 1e-6, equal_nan=True)
            for one, other in zip(tree.leaves(output), tree.leaves(again), strict=True)
        ):
            raise self._refuse(
                "returns something else when it is called again with the same inputs: it draws "
                "numbers, or writes to what it keeps from call to call. Make it a function of its "
                "parameters and inputs alone."
            )
        return traits, output

    def _uncallable(self, problem: Exception) -> ConfigError | None:
        """The refusal of a network that cannot be called at all; None if nothing is known."""
        said = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0]}"
        if isinstance(problem, TypeError) and f"{self.name}.forward() " in said:
            return self._refuse(
                "must be callable with the inputs alone, forward(inputs), and is not: "
                f"{problem}. Give the others a default, or bind them in __init__."
            )
        kinds = sorted({str(value.dtype).removeprefix("torch.") for value in self.params.values()})
        given = str(self.like.dtype).removeprefix("torch.")
        if self.like.is_floating_point() and kinds != [given] and _TYPES.search(said):
            return self._refuse(
                f"has {' and '.join(kinds)} parameters and is given {given} inputs: call "
                f"module.float(){'' if len(kinds) > 1 else f', or give it {kinds[0]} data'}."
            )
        if "shapes cannot be multiplied" in said or (
            self.leading is not None and isinstance(problem, RuntimeError | ValueError | IndexError)
        ):
            return self._refuse(f"fails on inputs of shape {tuple(self.like.shape)}: {said}")
        return explained(problem, self.name)

    def _check_fields(self, output: Any) -> bool:
        """Check what came back.

        Returns:
            Whether fields have to be expanded.
        """
        if not is_distribution(output):
            if self.leading is None:  # for a loss of the user's own, perhaps
                return False
            raise self._refuse(f"returns {described(output)}. {advice(output)}")
        kind, before = type(output).__name__, tuple(self.like.shape[: self.leading or 1])
        for i, (name, field) in enumerate(zip(_names(output), output, strict=True)):
            if i and isinstance(output, Gaussian) and isinstance(field, int | float):
                continue
            if not isinstance(field, Tensor) or not (i or field.is_floating_point()):
                raise self._refuse(
                    f"returns a {kind} whose {name} is {described(field)}: make it a tensor of "
                    "floats."
                )
        shapes = [tuple(field.shape) if isinstance(field, Tensor) else () for field in output]
        first = shapes[0]
        one = isinstance(output, Gaussian | Categorical)  # others may have more dimensions
        exact = self.leading is None or not one or len(first) == len(before) + 1
        if self.like.ndim > 1 and (first[: len(before)] != before or len(first) < 2 or not exact):
            raise self._refuse(
                f"returns a {kind} of shape {first} on inputs of shape {tuple(self.like.shape)}: "
                f"{_names(output)[0]} must have a row for each input and then one dimension, "
                f"[{', '.join(map(str, before))}, A]."
            )
        if not isinstance(output, Gaussian) or (
            shapes[1] == first and torch.is_floating_point(output.log_std)
        ):
            return False
        try:
            fits = torch.broadcast_shapes(*shapes) == first
        except RuntimeError:
            fits = False
        if not fits:
            raise self._refuse(
                f"returns a Gaussian whose mean has shape {first} and whose log_std {shapes[1]}: "
                "they must agree; a vector of parameters is expanded by log_std.expand_as(mean)."
            )
        return True

    def _check_rows(self, traits: Traits, output: Any) -> None:
        """Check that a policy makes of each observation what it makes of it among others."""
        if self.leading is None or len(self.like) < 2:
            return
        for changed, rest in ((0, slice(1, None)), (-1, slice(None, -1))):
            inputs = self.like.clone()
            inputs[changed] += 1
            moved = self.call(traits)(self.params, inputs)
            if not all(
                torch.allclose(one[rest], other[rest], 1e-3, 1e-4, equal_nan=True)
                for one, other in zip(tree.leaves(output), tree.leaves(moved), strict=True)
            ):
                raise self._refuse(
                    "mixes its rows: what it returns for an observation depends on others, which "
                    "are of other episodes. Give recurrent and attention layers a sequence for "
                    "each row (x.unsqueeze(-2)), and take norms over features (nn.LayerNorm)."
                )

    def _check_derivative(self, output: Any) -> None:
        total = _total(output)
        found: tuple = (None,)
        if total.requires_grad:
            try:
                found = torch.autograd.grad(total, list(self.params.values()), allow_unused=True)
            except RuntimeError:  # told better where tasks are stacked
                return
        if all(gradient is None for gradient in found):
            raise self._refuse(
                "returns what does not depend on its parameters, so there is nothing to learn: "
                "look for detach(), .data, torch.no_grad() or numpy in its forward."
            )

    def _stacked(self, traits: Traits) -> Traits:
        """Compute it for two tasks at once, and the gradients of both."""
        first: RuntimeError | None = None
        for candidate in (traits, traits._replace(decomposed=True)):
            try:
                self._stack(candidate)
                return candidate
            except RuntimeError as problem:
                first = first or problem
        assert first is not None
        raise explained(first, self.name) or first from first

    def _stack(self, traits: Traits) -> None:
        call = self.call(traits)
        alone = tree.map(torch.Tensor.detach, self.params)
        params = tree.map(lambda leaf: torch.stack([leaf, leaf]), alone)
        inputs = tree.map(lambda leaf: torch.stack([leaf, leaf]), self.inputs)

        def loss(params: Params, inputs: Inputs) -> Tensor:
            return _total(call(params, inputs))

        with torch.no_grad():
            torch.func.vmap(call)(params, inputs)
        torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(alone, inputs)


ATTENTION = nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer
_RANDOM = next(iter(ADVICE))
_TYPES = re.compile(r"dtype|scalar type|to be the same|should be the same|Float|Double|BFloat")


class _Seen(TorchFunctionMode):
    """Notes whether attention and norms are computed by torch's own functions."""

    attention = norms = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.attention |= func is nn.functional.scaled_dot_product_attention
        self.norms |= func is torch.layer_norm or func in NORMS
        return func(*args, **(kwargs or {}))


def _own(module: nn.Module, params: Params) -> Params:
    """A module's parameters, of the types and on the devices of others."""
    own = dict(module.named_parameters())
    return {
        name: own[name].detach().to(value.device, value.dtype, copy=True).requires_grad_()
        for name, value in params.items()
    }


def _made_up(leaf: Tensor, rows: int | None = None) -> Tensor:
    """A tensor like another, or its first rows: small numbers, none alike, or integers 0."""
    shape = list(leaf.shape)
    if len(shape) > 1 and rows is not None:
        shape[0] = min(shape[0], rows)
    where = {"dtype": leaf.dtype, "device": leaf.device}
    if not leaf.is_floating_point():
        return torch.zeros(shape, **where)
    count = torch.Size(shape).numel()
    values = torch.linspace(0.1, 0.9, count, dtype=torch.float64, device="cpu")
    return values.to(**where).view(shape)


def _total(output: Any) -> Tensor:
    """A number that all fields of a distribution have a part in."""
    weighted = [(field * (i + 1)).sum() for i, field in enumerate(tree.leaves(output))]
    return torch.stack(weighted).sum()


def _names(output: Any) -> tuple[str, ...]:
    return type(output)._fields


def _generators(device: torch.device) -> list[Tensor]:
    states = [torch.random.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


@contextlib.contextmanager
def _kept_generators(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _same(states: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(state, other) for state, other in zip(states, others, strict=True))


def _active_dropout(module: nn.Module) -> str:
    """The dropout of a module that is switched on, as the start of a sentence."""
    names = [
        f"{type(m).__name__} {name}".strip()
        for name, m in module.named_modules()
        if m.training
        and (m.p > 0 if isinstance(m, _DropoutNd) else getattr(m, "dropout", 0.0) not in (0, None))
        and isinstance(m, _DropoutNd | nn.RNNBase | nn.MultiheadAttention)
    ]
    return f"has dropout at work ({', '.join(names)}): it " if names else ""
