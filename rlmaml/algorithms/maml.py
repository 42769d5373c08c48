"""MAML (Finn, Abbeel and Levine 2017, algorithms 2 and 3).

    φ_i = θ - α ∇L_i(θ, D_i),    min over θ of  Σ_i L_i(φ_i, D'_i)

In reinforcement learning D_i is sampled by π_θ, D'_i by π_φi, L is a policy-gradient surrogate
and the step on θ a trust region's; in supervised learning D_i and D'_i are labeled examples, L
is their loss and the step an optimizer's. Either outer step serves both. With no inner steps it is
training on the average task; with `inner.hessian separate` the update that Fallah, Mokhtari and
Ozdaglar (2020, algorithm 1) analyze, with three independent data sets:

    θ ← θ - β mean_i (I - α ∇²L_i(θ, D_i^h)) ∇L_i(θ - α ∇L_i(θ, D_i), D'_i)
"""

from __future__ import annotations

from rlmaml.algorithms.base import Algorithm


class MAML(Algorithm):
    """`Algorithm` as it is: gradient steps, differentiated exactly. Arguments as there."""
