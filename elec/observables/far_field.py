"""Near field to far field: what the skins of a closed surface radiate in any direction, for the scheme itself.

The far field along r of currents J, M is their reaction with a plane wave (e, h) that comes from r
[Balanis2016, ch. 12]:

    r E . p exp(j k r) = -j k eta / (4 pi) sum (J . e - M . h) dV,    e = p exp(j k r . r'),  h = -r x p / eta

and J, M on the surface of a Yee grid make the sum one of E x h - e x H. Both waves are those of the scheme
(`elec.observables.lattice_wave`), each at its own places in space and time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.grid import AXES
from elec.observables.lattice_wave import Staggered, scheme_rate, staggered_wave
from elec.observables.pattern import FarField
from elec.observables.surface import Pair, Surface
from mindsci.errors import InputError
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE

# Numbers of a staggered wave that are held at a time: 16 bytes each.
NUMBERS_AT_ONCE = 1 << 21


def far_field(
    surface: Surface,
    spectra: Sequence[Complex[Tensor, "f 3 _ _ _"]],
    frequencies: Sequence[float],
    dt: float,
    theta: Float[Tensor, "*directions"],
    phi: Float[Tensor, "*directions"],
    *,
    origin: Sequence[float] | None = None,
    permittivity: float = 1.0,
    permeability: float = 1.0,
) -> FarField:
    """Returns the far field of the sources inside a surface along directions [rad], differentiable in the spectra.

    spectra are the Fourier sums of `surface.boxes` at the frequencies [Hz], dt the time step of the run [s], origin the
    point [m] to which phases refer (the middle of the box unless given, on a wall where it has one). The medium outside
    the surface is homogeneous. Images in the walls are part of the sources; behind a "ground" the field is zero.

    Raises InputError for spectra of another surface and frequencies beyond the grid.
    """
    theta, phi = (torch.as_tensor(angle, dtype=torch.float64).detach() for angle in (theta, phi))
    if theta.shape != phi.shape:
        raise InputError(
            f"theta {list(theta.shape)} and phi {list(phi.shape)} differ in shape; give one pair a direction"
        )
    pairs = list(surface.pairs(spectra))
    if pairs[0].electric.shape[0] != len(frequencies):
        raise InputError(f"the spectra hold {pairs[0].electric.shape[0]} frequencies, {len(frequencies)} were given")
    center = _middle(surface) if origin is None else [float(value) for value in origin]
    speed = SPEED_OF_LIGHT / math.sqrt(permittivity * permeability)
    eta = VACUUM_IMPEDANCE * math.sqrt(permeability / permittivity)
    r, e_theta, e_phi = unit_vectors(theta.reshape(-1), phi.reshape(-1))
    seen = _seen(surface, r)
    fields = []
    for index, frequency in enumerate(frequencies):
        kappa = scheme_rate(frequency, dt) / speed * r
        scale = -1j * 2.0 * math.pi * frequency / speed / (4.0 * math.pi)
        parts = []
        for chunk in _chunks(surface, len(r)):
            waves = [
                staggered_wave(surface.grid, axis, kappa[chunk, axis], center[axis], surface.wall(axis))
                for axis in range(3)
            ]
            parts.append(_reactions(pairs, index, waves, (e_theta[chunk], e_phi[chunk]), r[chunk], eta))
        fields.append(scale * torch.cat(parts, dim=1) * seen.to(parts[0].device))
    both = torch.stack(fields, dim=1)  # polarisation, frequency, direction
    shape = (len(frequencies), *theta.shape)
    return FarField(
        frequencies=torch.tensor([float(f) for f in frequencies], dtype=torch.float64),
        theta=theta,
        phi=phi,
        electric_theta=both[0].reshape(shape),
        electric_phi=both[1].reshape(shape),
        impedance=eta,
    )


def unit_vectors(
    theta: Float[Tensor, "*d"], phi: Float[Tensor, "*d"]
) -> tuple[Float[Tensor, "*d 3"], Float[Tensor, "*d 3"], Float[Tensor, "*d 3"]]:
    """Returns the unit vectors along r, theta and phi of directions [rad]."""
    (st, ct), (sp, cp) = (theta.sin(), theta.cos()), (phi.sin(), phi.cos())
    return (
        torch.stack([st * cp, st * sp, ct], dim=-1),
        torch.stack([ct * cp, ct * sp, -st], dim=-1),
        torch.stack([-sp, cp, torch.zeros_like(sp)], dim=-1),
    )


def _middle(surface: Surface) -> list[float]:
    middle = []
    for axis in range(3):
        nodes, wall = surface.grid.nodes(axis), surface.wall(axis)
        low, high = float(nodes[surface.low[axis]]), float(nodes[surface.high[axis]])
        middle.append(0.5 * (low + high) if wall is None else float(nodes[wall[1]]))
    return middle


def _seen(surface: Surface, r: Float[Tensor, "d 3"]) -> Float[Tensor, "d"]:
    """One for directions that have field, zero behind a ground."""
    seen = torch.ones(len(r), dtype=torch.float64)
    for axis, name in enumerate(AXES):
        for side, outward in (("low", -1.0), ("high", 1.0)):
            if surface.walls.get(f"{name} {side}") == "ground":
                seen = torch.where(outward * r[:, axis] > 1e-12, 0.0, seen)
    return seen


def _chunks(surface: Surface, count: int) -> Iterator[slice]:
    size = max(1, NUMBERS_AT_ONCE // (2 * sum(surface.grid.shape)))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _reactions(
    pairs: Sequence[Pair],
    index: int,
    waves: Sequence[Staggered],
    polarisations: tuple[Tensor, Tensor],
    r: Float[Tensor, "d 3"],
    eta: float,
) -> Complex[Tensor, "2 d"]:
    """Returns eta times the sum of J . e - M . h over the surface, for both polarisations."""
    magnetic = [torch.linalg.cross(-r, p) for p in polarisations]
    total: list[Tensor] = [torch.zeros((), dtype=torch.complex128)] * 2
    for pair in pairs:
        side = pair.side
        device = pair.electric.device
        u_other = waves[pair.other][0][:, pair.other_nodes].to(device)
        s_along = waves[pair.along][1][:, pair.along_cells].to(device)
        skins = torch.cat([pair.weight * pair.magnetic[index], pair.weight * pair.electric[index]], dim=1)
        moments = (s_along @ skins).reshape(len(r), 2, -1)
        h_sum, e_sum = (moments * u_other[:, None]).sum(dim=2).unbind(1)
        u, s = waves[side.axis][0][:, side.node].to(device), waves[side.axis][1][:, side.outside].to(device)
        for which, (p, h) in enumerate(zip(polarisations, magnetic, strict=True)):
            p, h = p[:, pair.along].to(device), h[:, pair.other].to(device)
            total[which] = total[which] + pair.sign * (eta * u * p * h_sum - s * h * e_sum)
    return torch.stack(total)
