"""The Yee scheme as three flows in plain torch: H Faraday, E Ampère, P probe; composed in the order "HEP".

This is the reference: every fused step gives the same numbers, and every gradient goes through it. It runs in any
floating-point precision on any device, and never changes its argument. [Yee1966], [Taflove2005, ch. 3].
"""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float
from torch import Tensor

from elec.fdtd.absorber import Absorber, Stretch
from elec.fdtd.media import Media
from elec.fdtd.probes import Monitors, Probes
from elec.fdtd.sources import EdgeSource
from elec.fields import Fields
from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY

Vector3 = tuple[Tensor, Tensor, Tensor]

AMPERE_MEMORY = slice(0, 2)
FARADAY_MEMORY = slice(2, 4)


def step_index(t: float, dt: float) -> int:
    """Returns the number of the step that a flow takes from t by dt; both directions name the same step."""
    return round((t if dt > 0 else t + dt) / abs(dt))


class Faraday(Tree):
    """mu dH/dt = -curl E."""

    permeability: Float[Tensor, "3 x y z"]
    """relative"""
    spacing: Vector3
    """lengths of the cells along each axis [m]"""
    absorber: Absorber | None = None

    @property
    def reversible(self) -> bool:
        return self.absorber is None

    def __call__(self, fields: Fields, t: float, dt: float) -> Fields:
        layers = None if self.absorber is None else (self.absorber, self.absorber.centers)
        derivative = _Derivative(spacing=self.spacing, direction=1, layers=layers, dt=dt)
        curl, memory = derivative.curl(fields.electric, fields.memory, FARADAY_MEMORY)
        magnetic = fields.magnetic - dt / (VACUUM_PERMEABILITY * self.permeability) * curl
        return tree.replace(fields, magnetic=magnetic, memory=memory)


class Ampere(Tree):
    """epsilon dE/dt + sigma E = curl H - J, with sigma E taken as the mean over the step (semi-implicit).

    decay = (1 - s) / (1 + s) and drive = (dt / epsilon) / (1 + s), s = sigma dt / (2 epsilon)
    [Taflove2005, sec. 3.6]; both are zero on metal. With -dt they give the exact inverse. Where there is loss that
    inverse multiplies rounding errors at each step, so the flow counts as reversible only without any.
    """

    media: Media
    spacing: Vector3
    """distances between cell centres along each axis [m], one a node"""
    absorber: Absorber | None = None
    sources: tuple[EdgeSource, ...] = ()

    @functools.cached_property
    def reversible(self) -> bool:
        return self.absorber is None and not bool((self.media.conductivity != 0).any())

    def coefficients(self, dt: float) -> tuple[Float[Tensor, "3 x y z"], Float[Tensor, "3 x y z"]]:
        """Returns (decay, drive [m s/F])."""
        permittivity = VACUUM_PERMITTIVITY * self.media.permittivity
        loss = self.media.conductivity * (0.5 * dt) / permittivity
        zero = torch.zeros((), dtype=loss.dtype, device=loss.device)
        decay = torch.where(self.media.metal, zero, (1.0 - loss) / (1.0 + loss))
        drive = torch.where(self.media.metal, zero, dt / permittivity / (1.0 + loss))
        return decay, drive

    def __call__(self, fields: Fields, t: float, dt: float) -> Fields:
        layers = None if self.absorber is None else (self.absorber, self.absorber.nodes)
        derivative = _Derivative(spacing=self.spacing, direction=-1, layers=layers, dt=dt)
        curl, memory = derivative.curl(fields.magnetic, fields.memory, AMPERE_MEMORY)
        decay, drive = self.coefficients(dt)
        for source in self.sources:
            if source.kind == "current":
                curl = _add(curl, source, -self._signal(source, t, dt))
        electric = decay * fields.electric + drive * curl
        for source in self.sources:
            if source.kind == "field":  # the edge counts as metal, so that what the update leaves there is zero
                electric = _add(electric, source, self._signal(source, t, dt))
        return tree.replace(fields, electric=electric, memory=memory)

    def _signal(self, source: EdgeSource, t: float, dt: float) -> Tensor:
        if source.kind == "current":
            return source.signal(torch.tensor([step_index(t, dt)]), abs(dt))
        # A held field belongs to the end of the step towards which the flow moves.
        return source.signal(torch.tensor([step_index(t, dt) - (dt < 0)]), abs(dt))


class Probe(Tree):
    """Adds the present signals to the records and the present fields to the Fourier sums; -dt takes them out again."""

    probes: Probes
    monitors: Monitors = Monitors()

    @property
    def reversible(self) -> bool:
        return True

    def __call__(self, fields: Fields, t: float, dt: float) -> Fields:
        step = step_index(t, dt)
        sign = 1.0 if dt > 0 else -1.0
        if self.probes.weights.shape[0]:
            check_capacity(fields, step + 1)
            place = torch.tensor([step], device=fields.records.device)
            value = sign * self.probes.read(fields.electric)
            fields = tree.replace(fields, records=fields.records.index_add(1, place, value[:, None]))
        if self.monitors.n_points and (step + 1) % self.monitors.every == 0:
            phases = sign * self.monitors.phases(step, 1, abs(dt))[0]
            parts = []
            for box in self.monitors.boxes:
                weight = phases[0 if box.field == "electric" else 1].to(fields.spectra)
                values = box.cut(getattr(fields, box.field)).reshape(-1)
                parts.append(weight.T[:, :, None] * values)
            fields = tree.replace(fields, spectra=fields.spectra + torch.cat(parts, dim=-1))
        return fields


def check_capacity(fields: Fields, n_steps: int) -> None:
    """Raises InputError where the records are too short for that many steps."""
    if n_steps > fields.records.shape[1]:
        raise InputError(
            f"step {n_steps} is beyond the {fields.records.shape[1]} samples that the records were made for; "
            "start with a larger n_samples"
        )


class _Derivative(Tree):
    """Stretched derivatives along the axes: forward differences (direction 1) of E, backward (-1) of H."""

    spacing: Vector3
    direction: int
    layers: tuple[Absorber, tuple[Stretch, Stretch, Stretch]] | None
    dt: float

    def curl(self, field: Tensor, memory: tuple[Tensor, ...], part: slice) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Returns curl of the field and the memory with its part renewed.

        The derivative along axis p enters curl component p + 2 with the component p + 1 of the field, and component
        p + 1 with the negative of p + 2. The memory keeps that sign.
        """
        curl: list[Tensor | None] = [None, None, None]
        renewed = []
        for axis in range(3):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            change = torch.stack([self._difference(field[first], axis), -self._difference(field[second], axis)])
            derivative = change * self._along(self._inverse_spacing(axis, field), axis)
            if self.layers is not None and sum(self.layers[0].layers[axis]):
                derivative, remembered = self._absorb(*self.layers, derivative, memory[axis][part], axis)
                renewed.append(_with_part(memory[axis], remembered, part))
            else:
                renewed.append(memory[axis])
            for component, value in ((second, derivative[0]), (first, derivative[1])):
                before = curl[component]
                curl[component] = value if before is None else before + value
        return torch.stack([part for part in curl if part is not None]), tuple(renewed)

    def _difference(self, component: Tensor, axis: int) -> Tensor:
        """Difference of neighbours, zero where there is none."""
        change = component.diff(dim=axis)
        edge = torch.zeros_like(component.narrow(axis, 0, 1))
        return torch.cat([change, edge] if self.direction > 0 else [edge, change], dim=axis)

    def _inverse_spacing(self, axis: int, field: Tensor) -> Tensor:
        """1 / spacing, one a node."""
        spacing = self.spacing[axis]
        if self.direction > 0:  # one cell less than nodes: the last entry is padding
            spacing = torch.cat([spacing, spacing[-1:]])
        return (1.0 / spacing).to(field)

    def _absorb(
        self, absorber: Absorber, stretch: tuple[Stretch, ...], derivative: Tensor, memory: Tensor, axis: int
    ) -> tuple[Tensor, Tensor]:
        """Returns the stretched derivative and the renewed recursive sums."""
        b, c = (absorber.slabs(value, axis, 0).to(derivative) for value in stretch[axis].recursion(self.dt))
        remembered = self._along(b, axis) * memory
        remembered = remembered + self._along(c, axis) * absorber.slabs(derivative, axis, axis + 1)
        scaled = derivative * self._along((1.0 / stretch[axis].scale).to(derivative), axis)
        return absorber.add(scaled, remembered, axis, axis + 1), remembered

    @staticmethod
    def _along(values: Tensor, axis: int) -> Tensor:
        shape = [1, 1, 1, 1]
        shape[axis + 1] = -1
        return values.reshape(shape)


def _with_part(memory: Tensor, renewed: Tensor, part: slice) -> Tensor:
    """The memory of one axis with the two sums of one law replaced."""
    if part == AMPERE_MEMORY:
        return torch.cat([renewed, memory[FARADAY_MEMORY]])
    return torch.cat([memory[AMPERE_MEMORY], renewed])


def _add(field: Tensor, source: EdgeSource, signal: Tensor) -> Tensor:
    """Returns the field with amplitude times signal added on the edges of a source."""
    index = tuple(part.to(field.device) for part in source.edges.unbind(1))
    return field.index_put(index, (source.amplitude.to(signal) * signal).to(field), accumulate=True)
