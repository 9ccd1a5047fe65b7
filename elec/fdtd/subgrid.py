"""A box of the grid as a step of its own, driven by the tangential electric field on its surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from elec.fdtd.absorber import Absorber, Stretch
from elec.fdtd.media import Media, outer_walls
from elec.fdtd.poles import Poles
from elec.fdtd.probes import Monitors, Probes
from elec.fdtd.sources import Source
from elec.fdtd.walls import Walls
from elec.fields import Fields
from mindsci import tree

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep


class Part(NamedTuple):
    """The step of the nodes low .. high, both included; `surface` are the edges, in the whole grid, that drive it."""

    step: YeeStep
    low: tuple[int, ...]
    high: tuple[int, ...]
    surface: Tensor
    terms: Tensor
    """which of the media's poles lie in it"""
    magnetic_terms: Tensor

    @property
    def cut(self) -> tuple[slice, ...]:
        return (slice(None), *(slice(a, b + 1) for a, b in zip(self.low, self.high, strict=True)))

    def fields(self, whole: Fields) -> Fields:
        """Returns a copy of the box's part of the fields, without records and spectra."""
        start = self.step.start()
        memory = []
        for axis, values in enumerate(whole.memory):
            slices = list(self.cut)
            slices[axis + 1] = slice(*self._layers(whole, axis))
            memory.append(values[tuple(slices)].clone())
        electric, magnetic = whole.electric[self.cut].clone(), whole.magnetic[self.cut].clone()
        for axis in range(3):
            if self.high[axis] < whole.nodes[axis] - 1:  # engines take the last nodes for the ones before the first
                electric.select(axis + 1, -1).zero_()
                magnetic.select(axis + 1, -1).zero_()
        return tree.replace(
            start,
            electric=electric,
            magnetic=magnetic,
            memory=tuple(memory),
            polarization=whole.polarization[:, self.terms.to(whole.polarization.device)].clone(),
            magnetization=whole.magnetization[:, self.magnetic_terms.to(whole.magnetization.device)].clone(),
        )

    def _layers(self, whole: Fields, axis: int) -> tuple[int, int]:
        """The memory is the low side's, then the high side's; a box keeps the inner cells of a side that it cuts."""
        absorber = self.step.ampere.absorber
        low, high = absorber.layers[axis] if absorber is not None else (0, 0)
        cut_off = whole.nodes[axis] - 1 - self.high[axis]
        first = self.low[axis] if low else whole.memory[axis].shape[axis + 1] - cut_off - high
        return (first, first + low + high) if low or high else (0, 0)


def box_around(step: YeeStep, low: Sequence[int], high: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the nodes, both included, of a box around the nodes low .. high - 1.

    It has a cell to spare below, and two above: engines do not update the last nodes, so that the surface on the high
    side lies one node before them. A box that comes as close to a wall as that reaches it, and needs no surface there.
    """
    nodes = step.ampere.media.metal.shape[1:]
    first, last = [], []
    for axis in range(3):
        a, b = max(low[axis] - 1, 0), min(high[axis] + 1, nodes[axis] - 1)
        if step.ampere.absorber is not None:  # a box does not begin or end within the layers of the other side
            layers = step.ampere.absorber.layers[axis]
            a, b = min(a, nodes[axis] - 1 - layers[1]), max(b, layers[0])
        if step.ampere.walls.periodic(axis) and (a == 0 or b == nodes[axis] - 1):
            a, b = 0, nodes[axis] - 1
        first.append(a)
        last.append(b)
    return tuple(first), tuple(last)


def part(step: YeeStep, low: tuple[int, ...], high: tuple[int, ...], also: Tensor | None = None) -> Part:
    """Returns a box as a step without probes and monitors; the surface's source is added by the caller.

    also: edges in the box, in the whole grid, that are to be driven like those of the surface; they follow these.
    """
    whole = step.ampere.media
    nodes = whole.metal.shape[1:]
    device = whole.metal.device
    cut = (slice(None), *(slice(a, b + 1) for a, b in zip(low, high, strict=True)))
    walls = _walls(step.ampere.walls, low, high, nodes)
    shape = [b - a + 1 for a, b in zip(low, high, strict=True)]
    surface = _surface(low, high, nodes, shape)
    held = torch.zeros(3, *shape, dtype=torch.bool)
    shift = torch.tensor([0, *low])
    held[(surface - shift).unbind(1)] = True
    if also is not None and len(also):
        also = also[~held[(also - shift).unbind(1)]]
        held[(also - shift).unbind(1)] = True
        surface = torch.cat([surface, also])
    metal = whole.metal[cut] | outer_walls(shape, walls=walls, device=device) | held.to(device)
    poles, terms = _poles(whole.poles, low, high, held)
    magnetic_poles, magnetic_terms = _poles(whole.magnetic_poles, low, high, torch.zeros_like(held))
    conductivity = whole.magnetic_conductivity.detach()[cut] if whole.magnetic_conductivity is not None else None
    media = Media(
        permittivity=whole.permittivity.detach()[cut],
        conductivity=whole.conductivity.detach()[cut],
        permeability=whole.permeability.detach()[cut],
        metal=metal,
        poles=poles,
        magnetic_conductivity=conductivity,
        magnetic_poles=magnetic_poles,
    )
    absorber = _absorber(step.ampere.absorber, low, high, nodes)
    limits = list(zip(low, high, strict=True))
    electric = [_source(source, low, high, held) for source in step.ampere.sources]
    magnetic = [_source(source, low, high, None) for source in step.faraday.sources]
    new = tree.replace(
        step,
        faraday=tree.replace(
            step.faraday,
            permeability=media.permeability,
            conductivity=conductivity,
            poles=magnetic_poles,
            spacing=tuple(step.faraday.spacing[axis][a:b] for axis, (a, b) in enumerate(limits)),
            absorber=absorber,
            sources=tuple(one for one in magnetic if one is not None),
            walls=walls,
        ),
        ampere=tree.replace(
            step.ampere,
            media=media,
            spacing=tuple(step.ampere.spacing[axis][a : b + 1] for axis, (a, b) in enumerate(limits)),
            absorber=absorber,
            sources=tuple(one for one in electric if one is not None),
            walls=walls,
        ),
        probe=tree.replace(step.probe, probes=no_probes(), monitors=Monitors()),
    )
    return Part(new, low, high, surface, terms, magnetic_terms)


def no_probes(places: Tensor | None = None) -> Probes:
    """Returns probes that record nothing; their places are read all the same, for a history's signals."""
    edges = places if places is not None else torch.zeros(0, 4, dtype=torch.int64)
    return Probes(edges=edges, weights=torch.zeros(0, len(edges), dtype=torch.float64))


def terms_inside(poles: Poles | None, low: Sequence[int], high: Sequence[int]) -> Tensor:
    """Returns which poles lie at the nodes low .. high - 1."""
    if poles is None:
        return torch.zeros(0, dtype=torch.int64)
    return _inside(poles.edges.cpu(), low, [b - 1 for b in high]).nonzero()[:, 0]


def _walls(walls: Walls, low: Sequence[int], high: Sequence[int], nodes: Sequence[int]) -> Walls:
    sides = []
    for axis in range(3):
        first, last = walls.sides(axis)
        sides.append((first if low[axis] == 0 else "pec", last if high[axis] == nodes[axis] - 1 else "pec"))
    return Walls(x=sides[0], y=sides[1], z=sides[2])


def _surface(low: Sequence[int], high: Sequence[int], nodes: Sequence[int], shape: Sequence[int]) -> Tensor:
    """The edges along the sides of the box that are no walls of the grid."""
    marked = torch.zeros(3, *shape, dtype=torch.bool)
    for axis in range(3):
        for component in range(3):
            if component != axis:
                if low[axis] > 0:
                    marked[component].select(axis, 0).fill_(True)
                if high[axis] < nodes[axis] - 1:
                    marked[component].select(axis, shape[axis] - 2).fill_(True)
    for component in range(3):  # no edges lie behind the last nodes
        for axis in range(3):
            marked[component].select(axis, shape[axis] - 1).fill_(False)
    return marked.nonzero() + torch.tensor([0, *low])


def _inside(places: Tensor, low: Sequence[int], high: Sequence[int]) -> Tensor:
    index = places[:, 1:]
    return ((index >= torch.tensor(low)) & (index <= torch.tensor(high))).all(1)


def _source(source: Source, low: Sequence[int], high: Sequence[int], held: Tensor | None) -> Source | None:
    """The part of a source in the box; on its surface the record says what the field is."""
    places = source.places.cpu()
    chosen = _inside(places, low, high)
    shifted = places - torch.tensor([0, *low])
    if held is not None:
        chosen[chosen.clone()] = ~held[shifted[chosen].unbind(1)]
    if not bool(chosen.any()):
        return None
    return tree.replace(
        source,
        places=shifted[chosen],
        amplitude=source.amplitude.detach()[chosen.to(source.amplitude.device)],
        columns=source.column().cpu()[chosen],
    )


def _poles(poles: Poles | None, low: Sequence[int], high: Sequence[int], held: Tensor) -> tuple[Poles | None, Tensor]:
    if poles is None:
        return None, torch.zeros(0, dtype=torch.int64)
    edges = poles.edges.cpu()
    chosen = _inside(edges, low, high)
    shifted = edges - torch.tensor([0, *low])
    chosen[chosen.clone()] = ~held[shifted[chosen].unbind(1)]
    terms = chosen.nonzero()[:, 0]
    if not len(terms):
        return None, terms
    place = terms.to(poles.rate.device)
    return (
        Poles(
            edges=shifted[terms].to(poles.edges.device),
            rate=poles.rate.detach()[place],
            jump=poles.jump.detach()[place],
            drive=poles.drive.detach()[place],
        ),
        terms,
    )


def _absorber(
    absorber: Absorber | None, low: Sequence[int], high: Sequence[int], nodes: Sequence[int]
) -> Absorber | None:
    if absorber is None:
        return None
    layers, inside, centers = [], [], []
    for axis in range(3):
        first, last = absorber.layers[axis]
        layers.append((max(0, first - low[axis]), max(0, last - (nodes[axis] - 1 - high[axis]))))
        piece = slice(low[axis], high[axis] + 1)
        for stretch, kept in ((absorber.nodes[axis], inside), (absorber.centers[axis], centers)):
            kept.append(
                Stretch(
                    conductivity=stretch.conductivity[piece], scale=stretch.scale[piece], shift=stretch.shift[piece]
                )
            )
    if not any(first or last for first, last in layers):
        return None
    return Absorber(layers=tuple(layers), nodes=tuple(inside), centers=tuple(centers))  # type: ignore[arg-type]
