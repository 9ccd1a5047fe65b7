"""What a process keeps of a step that is cut into slabs across x: an ordinary step, with a halo of planes.

Walls, absorbing layers and poles of the whole are cut, not made again, so that each number is the one that the whole
step works with. Beyond the halo lies nothing that matters: what the outermost planes make of it is exchanged away
before it reaches a plane that the process owns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from elec.fdtd.absorber import Absorber, Stretch
from elec.fdtd.coupling import Coupling
from elec.fdtd.flows import Probe
from elec.fdtd.poles import Poles
from elec.fdtd.probes import Box, Monitors, Probes
from elec.fdtd.sources import Source
from elec.fdtd.walls import Walls
from mindsci import tree
from mindsci.distributed.halo import Layout, Slab

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep


def cut_step(step: YeeStep, slab: Slab) -> YeeStep:
    """Returns the step of what a slab keeps; it records nothing, and sums over the planes that the slab owns."""
    ampere, faraday, walls = step.ampere, step.faraday, cut_walls(step.ampere.walls, slab)
    media, absorber = ampere.media, _cut_absorber(ampere.absorber, slab)
    cells = slice(slab.first, slab.end - 1)
    kept = tree.replace(
        media,
        permittivity=_planes(media.permittivity, slab),
        conductivity=_planes(media.conductivity, slab),
        permeability=_planes(media.permeability, slab),
        metal=_planes(media.metal, slab),
        poles=_cut_poles(media.poles, slab),
        magnetic_conductivity=_planes(media.magnetic_conductivity, slab),
        magnetic_poles=_cut_poles(media.magnetic_poles, slab),
        coupling=_cut_coupling(media.coupling, slab),
    )
    return tree.replace(
        step,
        faraday=tree.replace(
            faraday,
            # Before the step the media's permeability and that of the law are one tensor: so they stay.
            permeability=kept.permeability
            if faraday.permeability is media.permeability
            else _planes(faraday.permeability, slab),
            spacing=(faraday.spacing[0][cells].clone(), *faraday.spacing[1:]),
            absorber=absorber,
            sources=cut_sources(faraday.sources, slab),
            walls=walls,
            conductivity=kept.magnetic_conductivity,
            poles=kept.magnetic_poles,
        ),
        ampere=tree.replace(
            ampere,
            media=kept,
            spacing=(ampere.spacing[0][slab.first : slab.end].clone(), *ampere.spacing[1:]),
            absorber=absorber,
            sources=cut_sources(ampere.sources, slab),
            walls=walls,
        ),
        probe=Probe(probes=cut_places(step.probe.probes, slab)[0], monitors=_cut_monitors(step.probe.monitors, slab)),
    )


def cut_walls(walls: Walls, slab: Slab) -> Walls:
    """Returns the walls of what a slab keeps: along x its own where it ends with the grid, else any."""
    low, high = walls.sides(0)
    return tree.replace(walls, x=("pec" if slab.below else low, "pec" if slab.above else high))


def _planes(values: Tensor | None, slab: Slab) -> Any:
    """The kept planes of a field, in memory of their own unless it is one number everywhere."""
    if values is None:
        return None
    kept = values[:, slab.first : slab.end]
    return kept if values.untyped_storage().nbytes() < values.numel() * values.element_size() else kept.clone()


def layer_cells(layers: tuple[int, int], n_planes: int) -> Tensor:
    """Returns the cells of the absorbing layers across x in the order of their memory."""
    return torch.cat([torch.arange(layers[0]), torch.arange(n_planes - 1 - layers[1], n_planes - 1)])


def _cut_absorber(absorber: Absorber | None, slab: Slab) -> Absorber | None:
    if absorber is None:
        return None
    low, high = absorber.layers[0]
    # The last plane kept is that of a node without a cell, as in the whole.
    last = slab.end - 1
    own = (
        max(0, min(low, last) - slab.first),
        max(0, last - max(slab.n_planes - 1 - high, slab.first)),
    )

    def stretch(whole: Stretch) -> Stretch:
        return tree.map(lambda values: values[slab.first : slab.end].clone(), whole)

    return Absorber(
        layers=(own, *absorber.layers[1:]),
        nodes=(stretch(absorber.nodes[0]), *absorber.nodes[1:]),
        centers=(stretch(absorber.centers[0]), *absorber.centers[1:]),
    )


def _chosen(places: Tensor, low: int, high: int) -> Tensor:
    """Which places, rows of (component, i, j, k), lie on the planes low .. high - 1."""
    return ((places[:, 1] >= low) & (places[:, 1] < high)).nonzero()[:, 0]


def _moved(places: Tensor, slab: Slab) -> Tensor:
    return places - places.new_tensor([0, slab.first, 0, 0])


def _cut_poles(poles: Poles | None, slab: Slab) -> Poles | None:
    if poles is None:
        return None
    kept = _chosen(poles.edges, slab.first, slab.end)
    return Poles(
        edges=_moved(poles.edges[kept], slab),
        rate=poles.rate[kept],
        jump=poles.jump[kept],
        drive=poles.drive[kept],
    )


def _cut_coupling(coupling: Coupling | None, slab: Slab) -> Coupling | None:
    """The pairs of which both edges are kept; where one is not, the other is of no account."""
    if coupling is None:
        return None
    kept = _chosen(coupling.edges, slab.first, slab.end)
    place = torch.full((len(coupling.edges),), -1, dtype=torch.int64, device=coupling.edges.device)
    place[kept] = torch.arange(len(kept), device=place.device)
    pairs = ((place[coupling.rows] >= 0) & (place[coupling.columns] >= 0)).nonzero()[:, 0]
    return Coupling(
        edges=_moved(coupling.edges[kept], slab),
        rows=place[coupling.rows[pairs]],
        columns=place[coupling.columns[pairs]],
        capacity=coupling.capacity[pairs],
    )


def cut_sources(sources: tuple[Source, ...], slab: Slab) -> tuple[Source, ...]:
    """Returns the sources on the planes that a slab keeps; those that have none there are left out."""
    found = []
    for source in sources:
        kept = _chosen(source.places, slab.first, slab.end)
        if len(kept):
            found.append(
                tree.replace(
                    source,
                    places=_moved(source.places[kept], slab),
                    amplitude=source.amplitude[kept.to(source.amplitude.device)],
                    columns=None if source.columns is None else source.columns[kept.to(source.columns.device)],
                )
            )
    return tuple(found)


def cut_places(probes: Probes, slab: Slab) -> tuple[Probes, Tensor]:
    """Returns probes that read the places on the planes that a slab owns and add nothing up, and which places."""
    owned = _chosen(probes.edges, slab.low, slab.high)
    none = probes.weights.new_zeros(0, len(owned))
    return Probes(edges=_moved(probes.edges[owned], slab), weights=none), owned


def _cut_monitors(monitors: Monitors, slab: Slab) -> Monitors:
    boxes = []
    for box in monitors.boxes:
        low, high = max(box.low[0], slab.low), min(box.high[0], slab.high)
        if low < high:
            boxes.append(
                Box(low=(low - slab.first, *box.low[1:]), high=(high - slab.first, *box.high[1:]), field=box.field)
            )
    return tree.replace(monitors, boxes=tuple(boxes))


def field_layouts(step: YeeStep) -> dict[str, Layout]:
    """Returns where planes lie in the fields of a whole step, by the name of each of their tensors but the records."""
    media = step.ampere.media
    n_planes = media.metal.shape[1]
    everywhere = Layout(1, torch.arange(n_planes))
    absorber = step.ampere.absorber
    layers = absorber.layers[0] if absorber is not None else (0, 0)

    def terms(poles: Poles | None) -> Layout:
        return Layout(1, poles.edges[:, 1].cpu() if poles is not None else torch.zeros(0, dtype=torch.int64))

    return {
        "electric": everywhere,
        "magnetic": everywhere,
        "memory.0": Layout(1, layer_cells(layers, n_planes), cells=True),
        "memory.1": everywhere,
        "memory.2": everywhere,
        "polarization": terms(media.poles),
        "magnetization": terms(step.faraday.poles),
    }


def sum_layout(monitors: Monitors) -> Layout:
    """Returns where planes lie in the Fourier sums."""
    found = [torch.zeros(0, dtype=torch.int64)]
    for box in monitors.boxes if monitors.n_points else ():
        planes = torch.arange(box.low[0], box.high[0])[None, :, None, None]
        found.append(planes.expand(box.shape).reshape(-1))
    return Layout(2, torch.cat(found))
