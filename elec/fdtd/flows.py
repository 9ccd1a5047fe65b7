"""The Yee scheme as three flows in plain torch: H Faraday, E Ampère, P probe; composed in the order "HEP".

This is the reference: every fused step gives the same numbers, and every gradient goes through it. It runs in any
floating-point precision on any device, and never changes its argument. [Yee1966], [Taflove2005, ch. 3].
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from elec.fdtd.absorber import Absorber, Stretch
from elec.fdtd.media import BOX, Media
from elec.fdtd.poles import Poles, both_parts, product, real_product
from elec.fdtd.probes import Monitors, Probes
from elec.fdtd.sources import Source
from elec.fdtd.walls import Walls
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
    """mu dH/dt + sigma* H + sum Re M = -curl E - M0; sigma* H and M are means over the step, as in Ampère's law."""

    permeability: Float[Tensor, "3 x y z"]
    """relative"""
    spacing: Vector3
    """lengths of the cells along each axis [m]"""
    absorber: Absorber | None = None
    sources: tuple[Source, ...] = ()
    walls: Walls = BOX
    conductivity: Float[Tensor, "3 x y z"] | None = None
    """magnetic [ohm/m]"""
    poles: Poles | None = None
    """on faces"""

    @property
    def reversible(self) -> bool:
        return self.absorber is None and self.conductivity is None and self.poles is None

    def coefficients(self, dt: float) -> tuple[Tensor, Tensor]:
        """Returns (decay, drive [s m/H]), the duals of Ampère's; decay is one number without loss."""
        scale = 0.5 * dt / (VACUUM_PERMEABILITY * self.permeability)
        if self.conductivity is None and self.poles is None:
            return torch.ones((), dtype=scale.dtype, device=scale.device), 2.0 * scale
        new = old = torch.zeros_like(scale) if self.conductivity is None else self.conductivity
        if self.poles is not None:
            after, before = self.poles.admittance(dt, scale.shape, scale.dtype)
            new, old = new + after, old + before
        return (1.0 - scale * old) / (1.0 + scale * new), 2.0 * scale / (1.0 + scale * new)

    def __call__(self, fields: Fields, t: float, dt: float) -> Fields:
        layers = None if self.absorber is None else (self.absorber, self.absorber.centers)
        derivative = _Derivative(spacing=self.spacing, direction=1, layers=layers, dt=dt, walls=self.walls)
        curl, memory = derivative.curl(fields.electric, fields.memory, FARADAY_MEMORY)
        curl = -curl
        for source in self.sources:
            curl = _add(curl, source, -source.values(step_index(t, dt), abs(dt)))
        decay, drive = self.coefficients(dt)
        curl = _resisted(curl, self.poles, fields.magnetization, dt)
        magnetic = decay * fields.magnetic + drive * curl
        for axis in range(3):
            if self.walls.periodic(axis):
                magnetic = _wrapped(magnetic, axis, [axis], self.walls.factor(axis))
        current = _renewed(self.poles, fields.magnetization, fields.magnetic, magnetic, dt)
        return tree.replace(fields, magnetic=magnetic, memory=memory, magnetization=current)


class Ampere(Tree):
    """epsilon dE/dt + sigma E + sum Re J = curl H - J0; sigma E and J taken as means over the step (semi-implicit).

    decay = (1 - s + p) / (1 + s + q) and drive = (dt / epsilon) / (1 + s + q) with s = sigma dt / (2 epsilon)
    [Taflove2005, sec. 3.6] and p, q what the poles of the edge give [Han2006]; both are zero on metal. With -dt they
    give the exact inverse. Where there is loss that inverse multiplies rounding errors at each step, so the flow counts
    as reversible only without any.
    """

    media: Media
    spacing: Vector3
    """distances between cell centres along each axis [m], one a node"""
    absorber: Absorber | None = None
    sources: tuple[Source, ...] = ()
    walls: Walls = BOX

    @functools.cached_property
    def reversible(self) -> bool:
        media = self.media
        return self.absorber is None and media.poles is None and not bool((media.conductivity != 0).any())

    def coefficients(self, dt: float) -> tuple[Float[Tensor, "3 x y z"], Float[Tensor, "3 x y z"]]:
        """Returns (decay, drive [m s/F])."""
        media = self.media
        scale = 0.5 * dt / (VACUUM_PERMITTIVITY * media.permittivity)
        new = old = media.conductivity
        if media.poles is not None:
            after, before = media.poles.admittance(dt, media.conductivity.shape, media.conductivity.dtype)
            new, old = new + after, old + before
        zero = torch.zeros((), dtype=scale.dtype, device=scale.device)
        decay = torch.where(media.metal, zero, (1.0 - scale * old) / (1.0 + scale * new))
        drive = torch.where(media.metal, zero, 2.0 * scale / (1.0 + scale * new))
        return decay, drive

    def __call__(self, fields: Fields, t: float, dt: float) -> Fields:
        layers = None if self.absorber is None else (self.absorber, self.absorber.nodes)
        derivative = _Derivative(spacing=self.spacing, direction=-1, layers=layers, dt=dt, walls=self.walls)
        curl, memory = derivative.curl(fields.magnetic, fields.memory, AMPERE_MEMORY)
        decay, drive = self.coefficients(dt)
        for source in self.sources:
            if source.kind == "current":
                curl = _add(curl, source, -source.values(step_index(t, dt), abs(dt)))
        curl = _resisted(curl, self.media.poles, fields.polarization, dt)
        electric = decay * fields.electric + drive * curl
        if self.media.coupling is not None:
            electric = self.media.coupling.coupled(fields.electric, electric, drive, dt)
        for source in self.sources:
            if source.kind == "field":  # the edge counts as metal, so that what the update leaves there is zero
                # The field belongs to the end of the step towards which the flow moves.
                electric = _add(electric, source, source.values(step_index(t, dt) - (dt < 0), abs(dt)))
        for axis in range(3):
            if self.walls.periodic(axis):
                across = [component for component in range(3) if component != axis]
                electric = _wrapped(electric, axis, across, self.walls.factor(axis))
        current = _renewed(self.media.poles, fields.polarization, fields.electric, electric, dt)
        return tree.replace(fields, electric=electric, memory=memory, polarization=current)


def _resisted(curl: Tensor, poles: Poles | None, current: Tensor, dt: float) -> Tensor:
    """Returns the curl without what the present currents of the poles give to their mean over the step."""
    if poles is None:
        return curl
    return curl.index_put(poles.index(), -real_product(poles.recursion(dt).share, current), accumulate=True)


def _renewed(poles: Poles | None, current: Tensor, before: Tensor, after: Tensor, dt: float) -> Tensor:
    """Returns the currents of the poles after a step between two fields."""
    if poles is None:
        return current
    step = poles.recursion(dt)
    gained = both_parts(step.after, after[poles.index()]) + both_parts(step.before, before[poles.index()])
    return product(step.keep, current) + gained


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
            value = sign * self.probes.read(fields.electric, fields.magnetic)
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
    walls: Walls

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
        """Difference of neighbours; beyond the first node of H lies what the wall there makes of the inside."""
        change = component.diff(dim=axis)
        if self.direction > 0:
            return torch.cat([change, torch.zeros_like(component.narrow(axis, 0, 1))], dim=axis)
        first, wall = component.narrow(axis, 0, 1), self.walls.sides(axis)[0]
        if wall == "periodic":
            edge = first - component.narrow(axis, component.shape[axis] - 2, 1) / self.walls.factor(axis)
        else:
            edge = 2.0 * first if wall == "pmc" else torch.zeros_like(first)
        if self.walls.sides(axis)[1] == "pmc":
            inner, last = change.narrow(axis, 0, change.shape[axis] - 1), change.narrow(axis, -1, 1)
            change = torch.cat([inner, 2.0 * last], dim=axis)  # no face lies beyond the last node: its field is zero
        return torch.cat([edge, change], dim=axis)

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


def _add(field: Tensor, source: Source, values: Tensor) -> Tensor:
    """Returns the field with a value added at each place of a source."""
    index = tuple(part.to(field.device) for part in source.places.unbind(1))
    return field.index_put(index, values.to(field), accumulate=True)


def _wrapped(field: Tensor, axis: int, components: Sequence[int], factor: complex | float) -> Tensor:
    """Returns the field with the last node of a periodic axis made the image of the first, in some components."""
    parts = list(field.unbind(0))
    for component in components:
        part = parts[component]
        size = part.shape[axis]
        parts[component] = torch.cat([part.narrow(axis, 0, size - 1), factor * part.narrow(axis, 0, 1)], dim=axis)
    return torch.stack(parts)
