"""FO-MAML (Finn, Abbeel and Levine 2017, section 5.2; Nichol, Achiam and Schulman 2018, section 2).

    φ_i = θ - α ∇L_i(θ, D_i),    θ ← θ - β mean_i ∇L_i(φ_i, D'_i)

MAML with the Jacobian of the adaptation, Π_k (I - α ∇²L_i(φ_k, D_k)), taken for I: no second
derivatives, and none of what they would correct. With a trust region the curvature has J = I too.
"""

from __future__ import annotations

from typing import ClassVar

from rlmaml.adjoints import first_order
from rlmaml.algorithms.base import Algorithm
from rlmaml.algorithms.requirements import Requires


class FOMAML(Algorithm):
    """First-order MAML. Arguments as of `Algorithm`."""

    adjoint = staticmethod(first_order)
    requires: ClassVar[Requires] = {
        "support-hessian": "its update leaves out the derivative of the inner step."
    }
