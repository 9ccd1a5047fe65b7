"""Transmission lines: voltage, current and impedance of a mode, and line constants from measured waves."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from jaxtyping import Complex
from torch import Tensor

from elec.ports.family import ModeFamily
from elec.ports.modes import Mode
from elec.ports.section import Section
from mindsci.errors import InputError, UnknownNameError

Definition = Literal["power-current", "voltage-current", "power-voltage"]
DEFINITIONS = ("power-current", "voltage-current", "power-voltage")


def conductor_at(section: Section, u: int, v: int) -> int:
    """Returns the number of the conductor at a node of the section; raises InputError where there is none."""
    number = int(section.conductors[u, v])
    if number == 0:
        raise InputError(f"node {(u, v)} of the section is not on metal; name a node inside the conductor")
    return number


def current(mode: Mode, conductor: int = 2) -> complex:
    """Returns the current along +n in a conductor [A]: the loop sum of H around its nodes (Ampere's law).

    Conductors are those of `Section.conductors`: 1 holds the outer wall, 2 is the next.
    """
    section = mode.section
    _check_conductor(section, conductor)
    h, (u, v) = mode.magnetic, section.dual
    first = h[0] * u[:, None]
    second = h[1] * v[None, :]
    # H_u steps along v around a node and H_v along u; beyond the low walls there is no field.
    circulation = _backward(second, 0, section.mirror[0]) - _backward(first, 1, section.mirror[1])
    half = torch.ones_like(circulation.real)
    for side, mirror in enumerate(section.mirror):
        if mirror:
            half.select(side, 0).mul_(0.5)
    return complex((circulation * half)[section.conductors == conductor].sum())


def _backward(values: Tensor, dim: int, mirror: bool) -> Tensor:
    """Difference with the node before; the first one has a mirror image with the other sign, or nothing."""
    first = values.narrow(dim, 0, 1) * (2.0 if mirror else 1.0)
    return torch.cat([first, values.diff(dim=dim)], dim=dim)


def voltage(mode: Mode, conductor: int = 2) -> complex:
    """Returns the voltage of a conductor against the others [V], along the shortest straight run of open edges,
    or the mean over those of the same length.

    For a TEM mode every path gives the same; elsewhere the path is part of the definition.
    """
    section = mode.section
    _check_conductor(section, conductor)
    runs = []
    for side in range(2):
        lengths = section.spacing[side]
        lines = mode.electric[side] if side == 0 else mode.electric[side].T
        labels = section.conductors if side == 0 else section.conductors.T
        for position in range(labels.shape[1]):
            column = labels[:, position].tolist()
            for start, stop in _gaps(column):
                ends = (column[start], column[stop])
                if conductor not in ends or ends[0] == ends[1]:
                    continue
                volts = complex((lines[start:stop, position] * lengths[start:stop]).sum())
                runs.append((float(lengths[start:stop].sum()), volts if ends[0] == conductor else -volts))
    if not runs:
        raise InputError(
            f"no straight line of open edges joins conductor {conductor} to another; use another definition"
        )
    shortest = min(length for length, _ in runs)
    ties = [volts for length, volts in runs if length <= shortest * (1.0 + 1e-9)]
    return sum(ties) / len(ties)


def _gaps(column: list[int]) -> list[tuple[int, int]]:
    """Pairs of neighbouring conductor nodes with open nodes, or an open edge, between them."""
    nodes = [index for index, number in enumerate(column) if number]
    return list(itertools.pairwise(nodes))


def _check_conductor(section: Section, conductor: int) -> None:
    count = int(section.conductors.max())
    if not 1 <= conductor <= count:
        raise InputError(f"conductor {conductor} of a section with {count}: a line needs 2, use 1 to {count}")


def characteristic_impedance(mode: Mode, conductor: int = 2, *, definition: Definition = "power-current") -> complex:
    """Returns the characteristic impedance [ohm]; the definitions agree for TEM modes, [Pozar2012, ch. 3].

    "power-current" is 2 P / I^2 (the usual one for microstrip), "voltage-current" V / I, "power-voltage" V^2 / 2 P. The
    mode carries P = 1 W through the whole section; a model cut by a magnetic wall holds a part of the line only, and
    has the impedance of that part.
    """
    if definition not in DEFINITIONS:
        raise UnknownNameError.of("definition of impedance", definition, DEFINITIONS)
    # H of the mode is stated with its phase taken out, while the power counts cos(beta d / 2) of it.
    if definition == "power-current":
        return 2.0 / (current(mode, conductor) ** 2 * mode.half_cell)
    if definition == "voltage-current":
        return voltage(mode, conductor) / current(mode, conductor)
    return voltage(mode, conductor) ** 2 * mode.half_cell / 2.0


def line_impedance(
    family: ModeFamily,
    frequencies: Tensor,
    conductor: int = 2,
    *,
    definition: Definition = "power-current",
) -> Complex[Tensor, "f"]:
    """Returns the characteristic impedance over frequency [ohm], interpolated between the family's frequencies."""
    solved = [characteristic_impedance(mode, conductor, definition=definition) for mode in family.modes]
    return family.shares(frequencies).to(torch.complex128) @ torch.tensor(solved, dtype=torch.complex128)


def measured_beta(
    before: Complex[Tensor, "f"], middle: Complex[Tensor, "f"], after: Complex[Tensor, "f"], distance: float
) -> Complex[Tensor, "f"]:
    """Returns the propagation constant [rad/m] from voltages on three planes at equal distances [m].

    Waves in both directions obey V(-d) + V(d) = 2 V(0) cos(beta d): no matched end is needed. Distances below half a
    wavelength, since the cosine is inverted on its first branch, and not far below a tenth of one: an error of the
    voltages comes out 1 / (beta d)^2 times as large.
    """
    return torch.acos((before + after) / (2.0 * middle)) / distance


def measured_impedance(
    voltages: tuple[Tensor, Tensor, Tensor], currents: tuple[Tensor, Tensor, Tensor]
) -> Complex[Tensor, "f"]:
    """Returns the impedance [ohm] of a line from voltages and currents on three planes at equal distances.

    V(-d) - V(d) = 2 j Z I(0) sin(beta d), and the same with I / Z: the quotient of the two, whatever waves stand on the
    line. The middle plane must be no node of either.
    """
    (v1, v2, v3), (i1, i2, i3) = voltages, currents
    squared = (v1 - v3) * v2 / ((i1 - i3) * i2)
    root = squared.sqrt()
    return torch.where(root.real < 0, -root, root)
