"""The reciprocal part of the Ewald sum on a grid: smooth particle mesh Ewald [Essmann1995].

Of charges, in e^2/angstrom, or of dispersion, whose coefficients c stand for charges: -c_i c_j / r^6.

Each charge is spread over order^3 points of a grid by B-splines; the transform of the grid stands for the structure
factor. `differentiable_reciprocal` is tensor operations alone, to be differentiated as often as one likes;
`reciprocal` has the same value and first derivatives by hand: one transform back gives the potential on the grid,
and the force on an atom is read off it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import tree
from mindsci.tree import Tree
from sponge.cells import inverse
from sponge.forcefield.options import Options
from sponge.forcefield.splines import euler_factors, spline_weights
from sponge.system import System

Grid = tuple[int, int, int]
INTERPOLATION = {4: 0.035, 5: 0.02, 6: 0.013}
"""c of each order, measured in water at tolerances of 1e-3 to 1e-6"""


class Mesh(Tree):
    """Systems that share a grid of points, as one batch."""

    size: Grid
    order: int
    alpha: float
    """[1/angstrom]"""
    dispersion: bool = False
    """whether what is spread are coefficients of 1 / r^6 instead of charges"""

    @property
    def points(self) -> int:
        return self.size[0] * self.size[1] * self.size[2]


def mesh_of(cell: Float[Tensor, "systems 3 3"], options: Options) -> Mesh:
    """Returns the grid that serves all the cells to the options' tolerance; it waits for the host unless one is given.

    An interpolation of order p errs by c (alpha h)^p of the forces, h the step of the grid: half the tolerance.
    """
    order = options.spline_order or (5 if options.tolerance >= 1e-5 else 6)
    size = options.grid
    if size is None:
        step = (0.5 * options.tolerance / INTERPOLATION[order]) ** (1.0 / order) / options.alpha
        lengths = torch.linalg.vector_norm(cell.detach(), dim=-1).amax(0).tolist()
        first, second, third = (_smooth(max(6, math.ceil(length / step))) for length in lengths)
        size = (first, second, third)
    return Mesh(size=size, order=order, alpha=options.alpha)


def with_grid(options: Options, cell: Float[Tensor, "systems 3 3"]) -> Options:
    """Returns the options with the grid that serves these cells, whatever becomes of them later."""
    return tree.replace(options, grid=mesh_of(cell, options).size)


def _smooth(least: int) -> int:
    """The next number without prime factors above 7: transforms of such sizes are fast."""
    rest = least
    for prime in (2, 3, 5, 7):
        while rest % prime == 0:
            rest //= prime
    return least if rest == 1 else _smooth(least + 1)


def reciprocal(
    system: System, charges: Float[Tensor, " atoms"], mesh: Mesh, *, by_hand: bool = True
) -> Float[Tensor, " systems"]:
    """Returns 1 / (2 pi V) sum over m of exp(-b^2) / m^2 B(m) |S(m)|^2 of each system, b = pi m / alpha, float64.

    Of dispersion, -pi^(3/2) alpha^3 / (6 V) sum of ((1 - 2 b^2) exp(-b^2) + 2 b^3 sqrt(pi) erfc(b)) B(m) |S(m)|^2, the
    term of no wave included [Essmann1995, section V].

    by_hand: derivatives by formula, a third of the time of those through the graph; second derivatives are the same.
    """
    if by_hand:
        found: Tensor = _ByHand.apply(system.positions, system.cell, charges, system.system, mesh)
        return found
    return _energy(system.positions, system.cell, charges, system.system, mesh)


def _energy(positions: Tensor, cell: Tensor, charges: Tensor, owner: Tensor, mesh: Mesh) -> Tensor:
    fractions = _fractions(positions, cell, owner)
    index, weights, _ = _stencil(fractions, owner, mesh)
    transform = torch.fft.rfftn(_spread(charges, index, weights, len(cell), mesh), dim=(1, 2, 3))
    return wave_energies(transform, influence_of(cell, mesh)).sum((1, 2, 3))


class _ByHand(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, cell: Tensor, charges: Tensor, owner: Tensor, mesh: Mesh) -> Tensor:
        ctx.save_for_backward(positions, cell, charges, owner)
        ctx.mesh = mesh
        wanted = ctx.needs_input_grad[:3]
        if not any(wanted):
            return _energy(positions, cell, charges, owner, mesh)
        fractions = _fractions(positions, cell, owner)
        index, weights, slopes = _stencil(fractions, owner, mesh)
        transform = torch.fft.rfftn(_spread(charges, index, weights, len(cell), mesh), dim=(1, 2, 3))
        influence = influence_of(cell, mesh)
        energies = wave_energies(transform, influence)
        by_fraction, by_charge = _read_off(_potential(transform, influence, mesh), index, weights, slopes, mesh)
        to_fractions = inverse(cell)
        by_fraction = charges[:, None] * by_fraction
        by_position = torch.einsum("ak,adk->ad", by_fraction, to_fractions.index_select(0, owner))
        by_cell = None
        if wanted[1]:
            strained = torch.einsum(
                "sai,sab->sib", to_fractions, strain_derivative(energies, influence, mesh).to(cell.dtype)
            )
            # Positions stay where they are while the cell changes: their fractions move.
            moved = torch.einsum("ai,aj->aij", fractions, by_position)
            by_cell = strained.index_add(0, owner, moved, alpha=-1)
        ctx.gradients = (by_position, by_cell, by_charge)
        return energies.sum((1, 2, 3))

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        positions, cell, charges, owner = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():
            # Derivatives of these derivatives are asked for: through the graph.
            inputs = [one for one, needed in zip((positions, cell, charges), wanted, strict=True) if needed]
            energy = _energy(positions, cell, charges, owner, ctx.mesh)
            made = iter(torch.autograd.grad(energy, inputs, weight, create_graph=True))
            return (*(next(made) if needed else None for needed in wanted), None, None)
        by_position, by_cell, by_charge = ctx.gradients
        of_atoms = weight.to(positions.dtype).index_select(0, owner)
        return (
            of_atoms[:, None] * by_position if wanted[0] else None,
            weight.to(cell.dtype)[:, None, None] * by_cell if wanted[1] else None,
            of_atoms * by_charge if wanted[2] else None,
            None,
            None,
        )


def _fractions(positions: Tensor, cell: Tensor, owner: Tensor) -> Tensor:
    return torch.einsum("ad,adk->ak", positions, inverse(cell).index_select(0, owner))


def _stencil(
    fractions: Float[Tensor, "atoms 3"], owner: Int[Tensor, " atoms"], mesh: Mesh
) -> tuple[list[Tensor], Float[Tensor, "atoms 3 order"], Float[Tensor, "atoms 3 order"]]:
    """Points of the grid along each axis that an atom reaches, the first with its system's; splines, their slopes."""
    size = fractions.new_tensor(mesh.size)
    place = fractions * size
    low = place.detach().floor()
    weights, slopes = spline_weights(place - low, mesh.order)
    back = torch.arange(mesh.order, device=owner.device)
    points = (low.to(torch.int64)[:, :, None] - back) % torch.tensor(mesh.size, device=owner.device)[:, None]
    x = (owner[:, None] * mesh.size[0] + points[:, 0]) * mesh.size[1] * mesh.size[2]
    return [x, points[:, 1] * mesh.size[2], points[:, 2]], weights, slopes


def _flat(index: list[Tensor]) -> Int[Tensor, "atoms points"]:
    x, y, z = index
    return (x[:, :, None, None] + y[:, None, :, None] + z[:, None, None, :]).flatten(1)


def _spread(charges: Tensor, index: list[Tensor], weights: Tensor, n_systems: int, mesh: Mesh) -> Tensor:
    x, y, z = weights.unbind(1)
    plane = (charges[:, None] * x)[:, :, None] * y[:, None, :]
    values = plane[:, :, :, None] * z[:, None, None, :]
    grid = values.new_zeros(n_systems * mesh.points).index_add(0, _flat(index).flatten(), values.flatten())
    return grid.view(n_systems, *mesh.size)


def _read_off(
    potential: Tensor, index: list[Tensor], weights: Tensor, slopes: Tensor, mesh: Mesh
) -> tuple[Float[Tensor, "atoms 3"], Float[Tensor, " atoms"]]:
    """The potential at each atom, and its derivative by the atom's fractions of the cell."""
    held = potential.flatten()[_flat(index)].view(-1, mesh.order, mesh.order, mesh.order)
    (x, y, z), (dx, dy, dz) = weights.unbind(1), slopes.unbind(1)
    along_z, slope_z = torch.einsum("axyz,az->axy", held, z), torch.einsum("axyz,az->axy", held, dz)
    row, slope_y = torch.einsum("axy,ay->ax", along_z, y), torch.einsum("axy,ay->ax", along_z, dy)
    row_z = torch.einsum("axy,ay->ax", slope_z, y)
    by_fraction = torch.stack([(row * dx).sum(1), (slope_y * x).sum(1), (row_z * x).sum(1)], dim=1)
    return by_fraction * by_fraction.new_tensor(mesh.size), (row * x).sum(1)


class Influence(Tree):
    """What turns the square of a wave of charge into energy, on half the grid."""

    factor: Float[Tensor, "systems x y z"]
    """0 of no wave of charge: the background's"""
    slope: Float[Tensor, "systems x y z"]
    """derivative of its logarithm by m^2"""
    waves: Float[Tensor, "systems x y z 3"]
    """m [1/angstrom], without 2 pi"""
    once: Float[Tensor, " z"]
    """how many of the two halves of the grid hold it"""


def influence_of(cell: Tensor, mesh: Mesh) -> Influence:
    """Returns what each wave of a grid in these cells weighs."""
    first, second, third = mesh.size
    like: dict[str, Any] = {"device": cell.device, "dtype": cell.dtype}
    half = third // 2 + 1
    axes = [*(torch.fft.fftfreq(n, 1.0 / n, **like) for n in (first, second)), torch.arange(half, **like)]
    numbers = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    once = torch.where((axes[2] == 0) | (2 * axes[2] == third), 1.0, 2.0).to(cell.dtype)
    none = (numbers == 0).all(-1)
    waves = torch.einsum("xyzi,sdi->sxyzd", numbers, inverse(cell))
    square = torch.where(none, 1.0, (waves * waves).sum(-1))
    x, y, z = (torch.from_numpy(euler_factors(n, mesh.order)).to(cell) for n in mesh.size)
    volume = torch.linalg.det(cell).abs()[:, None, None, None]
    splines = x[:, None, None] * y[:, None] * z[:half] / volume
    kernel, slope = (_dispersion if mesh.dispersion else _coulomb)(square, none, mesh.alpha)
    return Influence(factor=splines * kernel, slope=slope, waves=waves, once=once)


def _coulomb(square: Tensor, none: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """The kernel, and the derivative of its logarithm by m^2."""
    width = (math.pi / alpha) ** 2
    kernel = torch.where(none, 0.0, torch.exp(-width * square) / (2.0 * math.pi * square))
    return kernel, -(1.0 / square + width)


def _dispersion(square: Tensor, none: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    ratio = math.pi / alpha
    b = ratio * torch.sqrt(square)
    scale = -(math.pi**1.5) * alpha**3 / 6.0
    gauss, tail = torch.exp(-b * b), math.sqrt(math.pi) * torch.erfc(b)
    kernel = (1.0 - 2.0 * b * b) * gauss + 2.0 * b**3 * tail
    # Of no wave, the limit. A kernel that has rounded to zero has no logarithm, and adds nothing.
    kernel = torch.where(none, 1.0, kernel)
    known = kernel != 0.0
    slope = torch.where(known, 3.0 * ratio**2 * (b * tail - gauss) / torch.where(known, kernel, 1.0), 0.0)
    return scale * kernel, slope


def wave_energies(transform: Tensor, influence: Influence) -> Float[Tensor, "systems x y z"]:
    return (influence.once * influence.factor * (transform.real**2 + transform.imag**2)).double()


def _potential(transform: Tensor, influence: Influence, mesh: Mesh) -> Float[Tensor, "systems x y z"]:
    """Derivative of the energy by the charge at each point."""
    factor = even_factor(influence)
    return 2.0 * torch.fft.irfftn(factor * transform, s=mesh.size, dim=(1, 2, 3), norm="forward")


def even_factor(influence: Influence) -> Float[Tensor, "systems x y z"]:
    """Returns the factors, equal for a wave and its opposite where both stand."""
    factor = influence.factor
    # On the two planes that the halves share, a wave and its opposite both stand: in a slanted cell the sign chosen at
    # half the size of the grid makes them differ, and the transform back wants them equal.
    shared = influence.once == 1.0
    opposite = factor.flip((1, 2)).roll((1, 1), (1, 2))
    return torch.where(shared, 0.5 * (factor + opposite), factor)


def strain_derivative(energies: Tensor, influence: Influence, mesh: Mesh) -> Float[Tensor, "systems 3 3"]:
    """Derivative by a strain that keeps the fractions: of 1 / V, and of each m."""
    stretch = -2.0 * energies * influence.slope.double()
    waves = influence.waves.double()
    outer = torch.einsum("sxyz,sxyzi,sxyzj->sij", stretch, waves, waves)
    return outer - energies.sum((1, 2, 3))[:, None, None] * torch.eye(3, device=waves.device, dtype=waves.dtype)
