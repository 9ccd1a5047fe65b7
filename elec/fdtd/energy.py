"""The energy that the lossless scheme conserves, and the modes that it has in a box: what tests hold it against."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from elec.fdtd.media import BOX, Media
from elec.fdtd.poles import Poles
from elec.fdtd.walls import Walls
from elec.fields import Fields
from elec.grid import Grid
from mindsci import tree
from mindsci.errors import InputError
from mindsci.units import SPEED_OF_LIGHT, VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY


def energy(grid: Grid, media: Media, before: Fields, after: Fields, *, walls: Walls = BOX) -> float:
    """Returns the energy [J] at the time of `before`: its magnetic field is half a step early, `after`'s half late.

    W = (1/2) sum epsilon E^n E^n dV + (1/2) sum mu H^(n-1/2) H^(n+1/2) dV is constant to rounding for the leapfrog
    without loss [Taflove2005, sec. 4.7]; with each field squared alone it oscillates. What poles hold is part of it,
    and with those of edges W stays constant to rounding where they have no loss; what magnetic poles hold is the mean
    of before and after. Raises InputError for poles of which it is not known what they hold.
    """
    edges, faces = (walls.widths(grid, images=False).volumes(magnetic=magnetic) for magnetic in (False, True))
    electric = media.permittivity * before.electric**2 * edges
    magnetic = media.permeability * before.magnetic * after.magnetic * faces
    total = 0.5 * (VACUUM_PERMITTIVITY * electric.sum() + VACUUM_PERMEABILITY * magnetic.sum())
    if media.poles is not None:
        held = held_energy(media.poles, before.electric, before.polarization)
        total = total + (held * edges[media.poles.index()]).sum()
    if media.magnetic_poles is not None:
        held = sum(held_energy(media.magnetic_poles, one.magnetic, one.magnetization) for one in (before, after))
        total = total + 0.5 * (held * faces[media.magnetic_poles.index()]).sum()
    return float(total)


def held_energy(poles: Poles, field: Tensor, current: Tensor) -> Tensor:
    """Returns the energy density [J/m^3] that each term holds.

    K = J - jump E obeys dK/dt = rate K + c E, c = drive + rate jump. A term with a real rate (Drude, Debye, a resistor
    and an inductor) holds K^2 / (2 |c|). A damped resonance (rate = -gamma / 2 + j beta, an imaginary jump) has a
    polarisation P of which K = (c / Re c) (dP/dt - conj(rate) P), and holds (|dP/dt|^2 + |rate|^2 P^2) / (2 Re c), its
    kinetic and its potential energy.
    """
    rate, jump = poles.rate, poles.jump
    strength = poles.drive + rate * jump
    single = rate.imag == 0
    small = 1e-9 * jump.abs()
    resonant = (poles.drive == 0) & (jump.real.abs() <= small) & (strength.real > 0)
    known = torch.where(single, (jump.real >= 0) & (jump.imag.abs() <= small) & (poles.drive.real >= 0), resonant)
    if not bool(known.all()):
        raise InputError(
            f"{int((~known).sum())} of the poles are sums of which it is not known what energy they hold: pairs with a "
            "residue that is not imaginary, or real ones of negative strength; use Drude, Debye and Lorentz terms"
        )
    if field.is_complex():  # two fields that know nothing of one another
        return held_energy(poles, field.real, current.real) + held_energy(poles, field.imag, current.imag)
    K = torch.complex(current[0].to(rate.real), current[1].to(rate.real)) - jump * field[poles.index()]
    size = torch.where(single, strength.abs(), strength.real)
    some = size > 0
    size = torch.where(some, size, 1.0)
    turned = K * size / torch.where(some, strength, 1.0)
    polarisation = torch.where(single, 0.0, turned.imag / torch.where(single, 1.0, rate.imag))
    velocity = turned.real + rate.real * polarisation
    held = torch.where(single, K.real**2, velocity**2 + rate.abs() ** 2 * polarisation**2)
    return torch.where(some, held / (2.0 * size), 0.0)


def cavity_frequency(mode: Sequence[int], size: Sequence[float]) -> float:
    """Returns the resonance [Hz] of a vacuum box with perfectly conducting walls, edges [m] [Pozar2012, eq. 6.40]."""
    return 0.5 * SPEED_OF_LIGHT * math.sqrt(sum((m / a) ** 2 for m, a in zip(mode, size, strict=True)))


def scheme_frequency(mode: Sequence[int], size: Sequence[float], cells: Sequence[int], dt: float) -> float:
    """Returns the frequency [Hz] at which the Yee scheme itself oscillates in that box on a uniform grid.

    sin^2(pi f dt) / (c dt)^2 = sum sin^2(pi m / 2 n) / (a / n)^2 [Taflove2005, sec. 4.3].
    """
    total = sum((math.sin(math.pi * m / (2 * n)) / (a / n)) ** 2 for m, a, n in zip(mode, size, cells, strict=True))
    return math.asin(SPEED_OF_LIGHT * dt * math.sqrt(total)) / (math.pi * dt)


def cavity_mode(fields: Fields, grid: Grid, mode: Sequence[int], polarisation: Sequence[float]) -> Fields:
    """Returns the fields with E set to a mode of the box: cosine along its own axis, sines across.

    The polarisation is freed of its part along the wave vector, so that the mode has no charge on the grid.
    """
    sizes = [float(grid.nodes(axis)[-1] - grid.nodes(axis)[0]) for axis in range(3)]
    wave = [math.sin(math.pi * m / (2 * n)) / (a / n) for m, a, n in zip(mode, sizes, grid.shape, strict=True)]
    along = sum(p * k for p, k in zip(polarisation, wave, strict=True)) / max(sum(k * k for k in wave), 1e-300)
    electric = torch.zeros_like(fields.electric)
    for component in range(3):
        amplitude = polarisation[component] - along * wave[component]
        shape = torch.full((1, 1, 1), amplitude, dtype=torch.float64)
        for axis in range(3):
            place = grid.nodes(axis).to(torch.float64) - float(grid.nodes(axis)[0])
            if axis == component:
                middle = torch.cat([0.5 * (place[1:] + place[:-1]), place[-1:]])
                part = torch.cos(math.pi * mode[axis] * middle / sizes[axis])
                part = torch.cat([part[:-1], torch.zeros(1, dtype=torch.float64)])
            else:
                part = torch.sin(math.pi * mode[axis] * place / sizes[axis])
            shape = shape * part.reshape([-1 if other == axis else 1 for other in range(3)])
        electric[component] = shape
    return tree.replace(fields, electric=electric)


def oscillation_frequency(record: Float[Tensor, "samples"], dt: float) -> float:
    """Returns the frequency [Hz] of a single undamped oscillation: x(n+1) + x(n-1) = 2 cos(2 pi f dt) x(n)."""
    x = record.to(torch.float64)
    inner = x[1:-1]
    cosine = float((inner * (x[2:] + x[:-2])).sum() / (2.0 * (inner * inner).sum()))
    return math.acos(min(1.0, max(-1.0, cosine))) / (2.0 * math.pi * dt)
