"""Constraints in plain torch: Newton's method for bonds [Ryckaert1977; Andersen1983], SETTLE for water.

Each is differentiable, in float64. A displacement of constrained atoms is G^T lambda over the masses, with rows of G
the vectors between the atoms of each constraint.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sponge.dynamics.constraints.clusters import Batch

ITERATIONS = 30
"""Newton's method doubles the digits each time: what has not converged by then does not"""


def vectors(points: Float[Tensor, "atoms 3"], pairs: Int[Tensor, "constraints 2"]) -> Float[Tensor, "constraints 3"]:
    """Returns first - second of each pair."""
    return points.index_select(0, pairs[:, 0]) - points.index_select(0, pairs[:, 1])


def spread(
    weights: Float[Tensor, " constraints"],
    along: Float[Tensor, "constraints 3"],
    pairs: Int[Tensor, "constraints 2"],
    n_atoms: int,
) -> Float[Tensor, "atoms 3"]:
    """Returns G^T lambda: each weight times its vector, added at the first atom and taken from the second."""
    pulls = weights[:, None] * along
    return pulls.new_zeros(n_atoms, 3).index_add(0, pairs[:, 0], pulls).index_add(0, pairs[:, 1], -pulls)


def coupling(batch: Batch, inverse_masses: Float[Tensor, " atoms"]) -> Float[Tensor, "clusters size size"]:
    """Returns the sum over shared atoms of sign / mass of each two constraints [1/Da]."""
    weights = inverse_masses[batch.atoms]
    return torch.einsum("kca,ka,kda->kcd", batch.incidence.to(weights.dtype), weights, batch.incidence.to(weights))


def multipliers(
    batches: Sequence[Batch],
    along: Float[Tensor, "constraints 3"],
    right: Float[Tensor, " constraints"],
    inverse_masses: Float[Tensor, " atoms"],
) -> Float[Tensor, " constraints"]:
    """Returns the solution of (G M^-1 G^T) lambda = right, cluster by cluster."""
    found = torch.zeros_like(right)
    for batch in batches:
        d = along[batch.constraints]
        matrix = coupling(batch, inverse_masses) * (d @ d.mT)
        solved = torch.linalg.solve(matrix, right[batch.constraints])
        found = found.index_put((batch.constraints,), solved)
    return found


def solve_positions(
    batches: Sequence[Batch],
    before: Float[Tensor, "constraints 3"],
    after: Float[Tensor, "constraints 3"],
    length: Float[Tensor, " constraints"],
    inverse_masses: Float[Tensor, " atoms"],
    tolerance: float,
) -> tuple[Float[Tensor, " constraints"], Float[Tensor, " constraints"]]:
    """Returns lambda such that after + M^-1 G(before)^T lambda has the lengths, and the relative error of each.

    The last step is on the tape: a step of Newton's method from the solution has the solution's derivative.
    """
    found, errors = torch.zeros_like(length), torch.zeros_like(length)
    for batch in batches:
        rows = batch.constraints
        old, new, wanted = before[rows], after[rows], length[rows]
        inverse = coupling(batch, inverse_masses)
        with torch.no_grad():
            weights = torch.zeros_like(wanted)
            for _ in range(ITERATIONS):
                weights, error = _newton(weights, old, new, wanted, inverse)
                if not bool((error > tolerance).any()):
                    break
        weights, error = _newton(weights, old, new, wanted, inverse)
        found, errors = found.index_put((rows,), weights), errors.index_put((rows,), error.detach())
    return found, errors


def _newton(
    weights: Tensor, old: Tensor, new: Tensor, wanted: Tensor, inverse: Tensor
) -> tuple[Tensor, Float[Tensor, "clusters size"]]:
    """One step, and the relative error of the lengths before it."""
    d = new + torch.einsum("kcd,kd,kdx->kcx", inverse, weights, old)
    excess = (d * d).sum(-1) - wanted**2
    matrix = 2.0 * inverse * (d @ old.mT)
    return weights - torch.linalg.solve_ex(matrix, excess)[0], (0.5 * excess / wanted**2).abs()


def settle(
    before: Float[Tensor, "waters 3 3"],
    after: Float[Tensor, "waters 3 3"],
    oxygen_hydrogen: Float[Tensor, " waters"],
    hydrogen_hydrogen: Float[Tensor, " waters"],
    masses: Float[Tensor, "waters 3"],
) -> Float[Tensor, "waters 3 3"]:
    """Returns the places of oxygen and hydrogens that are rigid again, NaN where there are none [Miyamoto1992].

    In the notation of the paper: the primed axes Z along the normal of the triangle before, X normal to it and to the
    oxygen after, with the origin at the centre of mass.
    """
    share = masses / masses.sum(-1, keepdim=True)
    r_c = 0.5 * hydrogen_hydrogen
    height = torch.sqrt(oxygen_hydrogen**2 - r_c**2)
    r_a = height * (1.0 - share[:, 0])
    r_b = height - r_a
    centre = (share[:, :, None] * after).sum(1, keepdim=True)
    A1, B1, C1 = (after - centre).unbind(1)
    B0, C0 = before[:, 1] - before[:, 0], before[:, 2] - before[:, 0]
    Z = _unit(torch.linalg.cross(B0, C0))
    X = _unit(torch.linalg.cross(A1, Z))
    Y = torch.linalg.cross(Z, X)

    def along(axis: Tensor, vector: Tensor) -> Tensor:
        return (axis * vector).sum(-1)

    sin_phi = along(Z, A1) / r_a
    cos_phi = torch.sqrt(1.0 - sin_phi**2)
    sin_psi = (along(Z, B1) - along(Z, C1)) / (2.0 * r_c * cos_phi)
    cos_psi = torch.sqrt(1.0 - sin_psi**2)
    a2y = r_a * cos_phi
    b2x = -r_c * cos_psi
    b2y = -r_b * cos_phi - r_c * sin_psi * sin_phi
    c2y = -r_b * cos_phi + r_c * sin_psi * sin_phi
    b0x, b0y, c0x, c0y = along(X, B0), along(Y, B0), along(X, C0), along(Y, C0)
    b1x, b1y, c1x, c1y = along(X, B1), along(Y, B1), along(X, C1), along(Y, C1)
    alpha = b2x * (b0x - c0x) + b0y * b2y + c0y * c2y
    beta = b2x * (c0y - b0y) + b0x * b2y + c0x * c2y
    gamma = b0x * b1y - b1x * b0y + c0x * c1y - c1x * c0y
    square = alpha**2 + beta**2
    sin_theta = (alpha * gamma - beta * torch.sqrt(square - gamma**2)) / square
    cos_theta = torch.sqrt(1.0 - sin_theta**2)
    turned = [
        (-a2y * sin_theta, a2y * cos_theta, along(Z, A1)),
        (b2x * cos_theta - b2y * sin_theta, b2x * sin_theta + b2y * cos_theta, along(Z, B1)),
        (-b2x * cos_theta - c2y * sin_theta, -b2x * sin_theta + c2y * cos_theta, along(Z, C1)),
    ]
    placed = [x[:, None] * X + y[:, None] * Y + z[:, None] * Z for x, y, z in turned]
    return centre + torch.stack(placed, 1)


def _unit(vector: Tensor) -> Tensor:
    return vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
