"""Families of tasks of which every constant of the convergence analysis is known.

A task's loss is a sum over coordinates of one bounded, smooth function of how far the parameter is
from the task's center,

    f_i(w) = a_i Σ_j ψ(w_j - c_ij),

and what a sample θ = (ξ, ζ), ξ, ζ ∈ {-1, 1}^d, shows of it is

    f_i(w, θ) = f_i(w) + s_g ξ·w + s_h Σ_j ζ_j (1 - cos(w_j - c_ij)).

ψ = 1 - cos is the family on which the estimator is studied: L_i = ρ_i = a_i. ψ(z) = (1 + z²)^{-p/2}
has a tail so slow that the number of iterations comes near the bound's power of ε.
Everything is float64. As in the analysis, tasks are equally likely, and norms of matrices are the
largest singular value.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor

from rlmaml import tree
from rlmaml.algorithms import get_algorithm
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.losses import Loss
from rlmaml.objective import Objective, over_tasks
from rlmaml.outer.optimizer import Optimizer
from rlmaml.types import Meta, MetaBatch, Params, Policy


class Samples(NamedTuple):
    """D samples of a task. Leaves of N tasks are [N, ...]."""

    amplitude: Tensor  # []  a_i
    center: Tensor  # [d]  c_i
    gradient_noise: Tensor  # [D, d]  ξ; zero where there is none
    hessian_noise: Tensor  # [D, d]  ζ


@dataclass(frozen=True)
class Constants:
    """Constants of the assumptions (Fallah, Mokhtari and Ozdaglar 2020, section 4)."""

    smoothness: float  # L: ‖∇f_i(w) - ∇f_i(u)‖ ≤ L ‖w - u‖
    hessian_lipschitz: float  # ρ: ‖∇²f_i(w) - ∇²f_i(u)‖ ≤ ρ ‖w - u‖
    between_tasks: float  # σ: E_i ‖∇f_i(w) - ∇f(w)‖² ≤ σ²
    gradient_noise: float  # σ̃: E_θ ‖∇f_i(w, θ) - ∇f_i(w)‖² ≤ σ̃²
    hessian_noise: float  # σ_H: E_θ ‖∇²f_i(w, θ) - ∇²f_i(w)‖² ≤ σ_H²


@dataclass(frozen=True, eq=False)
class Family(ABC):
    """N equally likely tasks.

    Attributes:
        amplitudes: a_i, [N], positive.
        centers: c_i, [N, d].
        gradient_scale: s_g, of the noise that is the same everywhere.
        hessian_scale: s_h, of the noise that bends the loss.

    Raises:
        ValueError: shapes that do not match, amplitudes that are not positive, negative scales.
    """

    infimum: ClassVar[float] = 0.0
    """A lower bound of F, since no ψ here is negative."""

    amplitudes: Tensor
    centers: Tensor
    gradient_scale: float = 0.0
    hessian_scale: float = 0.0

    def __post_init__(self) -> None:
        if self.centers.ndim != 2 or self.amplitudes.shape != self.centers.shape[:1]:
            raise ValueError(
                "amplitudes are [N] and centers [N, d], got "
                f"{list(self.amplitudes.shape)} and {list(self.centers.shape)}."
            )
        if not bool((self.amplitudes > 0).all()):
            raise ValueError(f"amplitudes must be positive, got {self.amplitudes.tolist()}.")
        if min(self.gradient_scale, self.hessian_scale) < 0:
            raise ValueError(
                "scales of the noise must be zero or positive, got "
                f"{self.gradient_scale} and {self.hessian_scale}."
            )

    @abstractmethod
    def profile(self, shift: Tensor) -> Tensor:
        """ψ, elementwise."""

    @property
    @abstractmethod
    def constants(self) -> Constants:
        """Constants that hold for every w, as small as is known."""

    @property
    def size(self) -> int:
        """d."""
        return self.centers.shape[1]

    def loss(self, params: Params, samples: Samples) -> Tensor:
        """The mean of f_i(w, θ) over one task's samples."""
        w = params["w"]
        shift = w - samples.center
        exact = samples.amplitude * self.profile(shift).sum()
        level = self.gradient_scale * samples.gradient_noise.mean(0) @ w
        bend = self.hessian_scale * samples.hessian_noise.mean(0) @ (1 - torch.cos(shift))
        return exact + level + bend

    def objective(self, name: str, step_size: float, **settings: float) -> Objective:
        """The package's objective on this family, with one inner step.

        Args:
            name: of an algorithm.
            step_size: α.
            settings: the algorithm's own.
        """
        algorithm_class = get_algorithm(name)
        hessian = "support" if "support-hessian" in algorithm_class.requires else "separate"

        def loss_of(policy: Policy) -> Loss:
            return self.loss

        algorithm = algorithm_class(
            _no_policy,
            InnerConfig(steps=1, step_size=step_size, hessian=hessian),
            Optimizer("SGD"),
            algorithm_class.Settings(**settings),
            inner_loss=loss_of,
            outer_loss=loss_of,
        )
        zero = torch.zeros(self.size, dtype=torch.float64)
        return algorithm.objective(algorithm.init({"w": zero}))

    def exact(self) -> Samples:
        """Every task without noise, leaves [N, ...]."""
        none = torch.zeros(len(self.centers), 1, self.size, dtype=torch.float64)
        return Samples(self.amplitudes, self.centers, none, none)

    def draw(self, tasks: Tensor, count: int, rng: torch.Generator) -> Samples:
        """`count` samples each of some tasks, by their numbers [B]."""
        shape = (2, len(tasks), count, self.size)
        signs = 2.0 * torch.randint(2, shape, generator=rng).double() - 1
        return Samples(self.amplitudes[tasks], self.centers[tasks], *signs)

    def gradients(self, w: Tensor) -> Tensor:
        """∇f_i(w) of every task, [N, d]."""
        rows = w.expand(len(self.centers), -1).detach().requires_grad_()
        losses = self.amplitudes * self.profile(rows - self.centers).sum(1)
        return torch.autograd.grad(losses.sum(), rows)[0]

    def value(self, w: Tensor, step_size: float) -> float:
        """F(w), the mean loss after one exact step of size α."""
        adapted = w - step_size * self.gradients(w)
        return float((self.amplitudes * self.profile(adapted - self.centers).sum(1)).mean())

    @property
    def _noise(self) -> tuple[float, float]:
        """σ̃ and σ_H: ∇ has noise s_g ξ + s_h ζ∘sin, ∇² has s_h diag(ζ∘cos)."""
        squared = self.size * (self.gradient_scale**2 + self.hessian_scale**2)
        return math.sqrt(squared), self.hessian_scale


def _no_policy(params: Params, inputs: object) -> NoReturn:
    raise TypeError("These tasks have losses, no policy.")


@dataclass(frozen=True, eq=False)
class Cosines(Family):
    """ψ = 1 - cos: ∇f_i = a_i sin(w - c_i), ∇²f_i = a_i diag(cos(w - c_i))."""

    def profile(self, shift: Tensor) -> Tensor:
        return 1 - torch.cos(shift)

    @property
    def constants(self) -> Constants:
        largest = float(self.amplitudes.max())
        # ∇f_i,j = (a cos c) sin w - (a sin c) cos w: its variance over tasks is a quadratic form
        # in a point on the unit circle, of which w_j can be any.
        parts = torch.stack([self.centers.cos(), self.centers.sin()])  # [2, N, d]
        parts = self.amplitudes[:, None] * parts
        parts = (parts - parts.mean(1, keepdim=True)).permute(2, 0, 1)
        most = torch.linalg.eigvalsh(parts @ parts.mT / len(self.centers))[:, -1]
        return Constants(largest, largest, math.sqrt(float(most.sum())), *self._noise)


@dataclass(frozen=True, eq=False)
class Quadratics(Family):
    """ψ = z²/2, on which update (3) is linear and stationary points have closed forms.

    Tasks' gradients differ without bound, so σ is infinite and the analysis does not hold.
    """

    def profile(self, shift: Tensor) -> Tensor:
        return shift**2 / 2

    @property
    def constants(self) -> Constants:
        return Constants(float(self.amplitudes.max()), 0.0, math.inf, *self._noise)


@dataclass(frozen=True, eq=False)
class SlowTail(Family):
    """ψ(z) = (1 + z²)^{-p/2}, on one coordinate.

    Far out ∇F is like p |w|^{-p-1}; along gradient descent it falls like k^{-(p+1)/(p+2)}.

    Attributes:
        power: p, positive.
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.power > 0:
            raise ValueError(f"power must be positive, got {self.power}.")
        if self.size != 1:
            raise ValueError(f"centers must be [N, 1], got {list(self.centers.shape)}.")

    def profile(self, shift: Tensor) -> Tensor:
        return (1 + shift**2) ** (-self.power / 2)

    @property
    def constants(self) -> Constants:
        p, largest = self.power, float(self.amplitudes.max())
        # |ψ''| is largest at 0. ψ''' = p (p+2) z (3 - (p+1) z²) (1 + z²)^{-p/2-3} is odd, and its
        # derivative vanishes where (p+1)(p+3) z⁴ - 6 (p+3) z² + 3 = 0.
        a, b = (p + 1) * (p + 3), 3 * (p + 3)
        z = np.sqrt((b - math.sqrt(b * b - 3 * a)) / a)
        third = p * (p + 2) * z * (3 - (p + 1) * z**2) * (1 + z**2) ** (-p / 2 - 3)
        return Constants(largest * p, largest * float(third), self._between_tasks(), *self._noise)

    def _between_tasks(self) -> float:
        """σ, on a grid: tasks differ only near their centers."""
        reach = float(self.centers.abs().max()) + 10
        grid = torch.linspace(-reach, reach, 20_001, dtype=torch.float64)
        shift = grid[:, None] - self.centers[:, 0]
        gradients = -self.power * self.amplitudes * shift * (1 + shift**2) ** (-self.power / 2 - 1)
        return math.sqrt(float(gradients.var(1, correction=0).max()))


def full_batch(family: Family) -> MetaBatch:
    """All tasks, no noise: the meta-gradient on it is ∇F."""
    samples = family.exact()
    return MetaBatch((samples,), samples, (samples,))


def estimates(objective: Objective, meta: Meta, batch: MetaBatch) -> Tensor:
    """G_i, equation (6), of every row of a batch, [rows, d]."""

    def one(data: MetaBatch) -> Tensor:
        def loss(meta: Meta) -> Tensor:
            iterates = objective.adjoint(objective.inner, meta, data.support, data.hessian)
            return objective.outer_loss(iterates, data)

        return tree.ravel(torch.func.grad(loss)(meta))[0]

    return over_tasks(one, objective.chunk_size)(batch)
