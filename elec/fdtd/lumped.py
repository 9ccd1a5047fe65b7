"""Lumped resistors, inductors and capacitors, in series or in parallel, on a box of grid edges.

On an edge of length l and dual area A an admittance Y(s) carries the current density Y E l / A. In a box of edges those
in series share the voltage by their length, columns in parallel the current by their width: an edge of the share w of
its layer, in a box of length L, has the admittivity (w L / A) Y(s) [PiketMay1994]. Y is a conductance, a capacitance
and poles,

    Y(s) = G + s C + sum (s jump + drive) / (s - rate),

so the element is conductivity, permittivity and terms of `elec.fdtd.poles`, stable at the ordinary time step and
second order. Values may be tensors: gradients pass through them.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.edge_box import EdgeBox
from elec.fdtd.media import BOX, Media
from elec.fdtd.poles import Poles, join_poles
from elec.fdtd.walls import Walls
from elec.grid import Grid
from elec.materials.dispersion import off_critical
from elec.numbers import Real, plain_real
from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import VACUUM_PERMITTIVITY


class Branch(NamedTuple):
    """One pole of an admittance; of a conjugate pair, one with doubled strengths, whose real part counts."""

    rate: Tensor
    jump: Tensor
    drive: Tensor


class Circuit(Tree):
    """A resistor [ohm], an inductor [H] and a capacitor [F], or some of them, in series or in parallel."""

    resistance: Real | None = None
    inductance: Real | None = None
    capacitance: Real | None = None
    kind: Literal["series", "parallel"] = "series"

    def __post_init__(self) -> None:
        if self.kind not in ("series", "parallel"):
            raise InputError(f"a circuit of kind '{self.kind}' is not known; use 'series' or 'parallel'")
        given = {"resistance": self.resistance, "inductance": self.inductance, "capacitance": self.capacitance}
        if all(value is None for value in given.values()):
            raise InputError("the circuit is empty; give resistance, inductance or capacitance")
        for name, value in given.items():
            number = 1.0 if value is None else plain_real(value)
            if not (math.isfinite(number) and number > 0):
                raise InputError(f"{name} = {number:g} must be positive; leave it out where there is none")

    def parts(self) -> tuple[Tensor, Tensor, list[Branch]]:
        """Returns the conductance [S], the capacitance [F] and the poles."""
        given = (self.resistance, self.inductance, self.capacitance)
        resistance, inductance, capacitance = (None if value is None else _double(value) for value in given)
        none = torch.zeros((), dtype=torch.float64)
        if self.kind == "parallel" or (inductance is None and (resistance is None or capacitance is None)):
            branches = [] if inductance is None else [_branch(none, none, 1.0 / inductance)]
            conductance = none if resistance is None else 1.0 / resistance
            return conductance, (none if capacitance is None else capacitance), branches
        if inductance is None:
            return none, none, [_branch(-1.0 / (resistance * capacitance), 1.0 / resistance, none)]
        resistance = none if resistance is None else resistance
        if capacitance is None:
            return none, none, [_branch(-resistance / inductance, none, 1.0 / inductance)]
        return none, none, _resonant(resistance, inductance, capacitance)

    def admittance(self, s: Complex[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns Y [S] at s [1/s]."""
        conductance, capacitance, branches = self.parts()
        total = conductance + s * capacitance
        for rate, jump, drive in branches:
            if bool(rate.imag == 0.0):
                total = total + (s * jump + drive) / (s - rate)
            else:
                total = total + 0.5 * (s * jump + drive) / (s - rate)
                total = total + 0.5 * (s * jump.conj() + drive.conj()) / (s - rate.conj())
        return total

    def on_edges(self, media: Media, edges: Tensor, scale: Float[Tensor, "edges"]) -> Media:
        """Returns the media with the circuit on edges; scale is admittivity over admittance [1/m] of each."""
        conductance, capacitance, branches = self.parts()
        index = tuple(part.to(media.metal.device) for part in edges.unbind(1))

        def added(field: Tensor, value: Tensor) -> Tensor:
            return field.index_put(index, (value * scale).to(field), accumulate=True)

        device = media.metal.device
        terms = [
            Poles(
                edges=edges.to(device),
                rate=branch.rate.expand(len(edges)).to(device),
                jump=(branch.jump * scale).to(device),
                drive=(branch.drive * scale).to(device),
            )
            for branch in branches
        ]
        return tree.replace(
            media,
            conductivity=added(media.conductivity, conductance),
            permittivity=added(media.permittivity, capacitance / VACUUM_PERMITTIVITY),
            poles=join_poles(([media.poles] if media.poles is not None else []) + terms),
        )

    def current(self, volts: Float[Tensor, "samples"], dt: float) -> Float[Tensor, "steps"]:
        """Returns the current [A] at the middle of each step between samples of the voltage, as the scheme has it."""
        conductance, capacitance, branches = self.parts()
        before, after = volts[:-1], volts[1:]
        total = 0.5 * conductance * (before + after) + capacitance * (after - before) / dt
        if not branches:
            return total
        one = [torch.stack(values) for values in zip(*branches, strict=True)]
        step = Poles(edges=torch.zeros(len(branches), 4, dtype=torch.int64), rate=one[0], jump=one[1], drive=one[2])
        keep, new, old, _ = step.recursion(dt)
        currents = [torch.zeros_like(keep)]
        for low, high in zip(before.unbind(), after.unbind(), strict=True):
            currents.append(keep * currents[-1] + new * high + old * low)
        flowing = torch.stack(currents).sum(1).real
        return total + 0.5 * (flowing[:-1] + flowing[1:])


class LumpedElement(Tree):
    """A circuit over the box from `start` to `stop` [m], along one axis."""

    start: tuple[float, float, float]
    """[m]"""
    stop: tuple[float, float, float]
    """[m]"""
    axis: int
    circuit: Circuit

    @property
    def box(self) -> EdgeBox:
        return EdgeBox(start=self.start, stop=self.stop, axis=self.axis, what="lumped element")

    def place(self, grid: Grid, media: Media, *, walls: Walls = BOX) -> Media:
        """Returns the media with the element, which may reach to a magnetic wall: then it is the whole one's half.

        Raises InputError off the grid's lines and where metal shorts it.
        """
        found = self.box.open_edges(grid, media.metal, walls)
        return self.circuit.on_edges(media, found.places, found.scale(grid))


def _double(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def _branch(rate: Tensor, jump: Tensor, drive: Tensor) -> Branch:
    return Branch(*(value.to(torch.complex128) for value in (rate, jump, drive)))


def _resonant(resistance: Tensor, inductance: Tensor, capacitance: Tensor) -> list[Branch]:
    """(s / L) / ((s - a) (s - b)) = (1 / L) (a / (s - a) - b / (s - b)) / (a - b)."""
    omega = 1.0 / (inductance * capacitance).sqrt()
    half = off_critical(0.5 * resistance / inductance, omega)
    none = torch.zeros((), dtype=torch.float64)
    if bool(half < omega):
        swing = (omega**2 - half**2).sqrt()
        rate = torch.complex(-half, swing)
        return [_branch(rate, none, 2.0 * rate / (2j * swing * inductance))]
    apart = (half**2 - omega**2).sqrt()
    return [
        _branch(rate, none, sign * rate / (2.0 * apart * inductance))
        for rate, sign in ((-half + apart, 1.0), (-half - apart, -1.0))
    ]
