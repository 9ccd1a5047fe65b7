"""What undoing a step of the reference flows cannot find again, recorded before the step.

That is the fields in the cells of absorbing layers with what these remember, and at edges and faces with loss or poles
with their currents: undoing those would multiply rounding errors. All other fields follow from those of after the step,
exactly to rounding, so that a run keeps nothing of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from elec.fields import Fields
from mindsci import tree

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep

Recorded = tuple[Tensor, ...]


def masks(step: YeeStep) -> tuple[Bool[Tensor, "3 x y z"], Bool[Tensor, "3 x y z"]]:
    """Returns the edges and the faces that are recorded."""
    media, absorber = step.ampere.media, step.ampere.absorber
    faraday = step.faraday
    layered = torch.zeros_like(media.metal)
    for axis in range(3) if absorber is not None else ():
        low, high = absorber.layers[axis]
        size = layered.shape[axis + 1]
        layered.narrow(axis + 1, 0, low).fill_(True)
        layered.narrow(axis + 1, size - 1 - high, high).fill_(True)
    edges = (layered | (media.conductivity != 0)) & ~media.metal
    if media.poles is not None:
        edges[media.poles.index()] = True
    if media.coupling is not None and bool((edges | (media.conductivity != 0))[media.coupling.index()].any()):
        edges[media.coupling.index()] = True  # with a recorded edge goes what it acts on
    for source in step.ampere.sources:
        if source.kind == "field":  # before the first step an edge need not have what the signal would give it
            edges[tuple(part.to(edges.device) for part in source.places.unbind(1))] = True
    faces = layered if faraday.conductivity is None else layered | (faraday.conductivity != 0)
    if faraday.poles is not None:
        faces = faces.clone()
        faces[faraday.poles.index()] = True
    return edges, faces


def recorded(step: YeeStep, fields: Fields) -> Recorded:
    """Returns what `undone` needs of the fields before a step."""
    edges, faces = step.recorded_places
    return (fields.electric[edges], fields.magnetic[faces], fields.polarization, fields.magnetization, *fields.memory)


def undone(step: YeeStep, fields: Fields, record: Recorded, t: float, dt: float) -> Fields:
    """Returns the fields before the step from t to t + dt; `fields` are those after it."""
    edges, faces = step.recorded_places
    electric, magnetic, polarization, magnetization, *memory = record
    fields = step.ampere(step.probe(fields, t + dt, -dt), t + dt, -dt)
    fields = tree.replace(fields, electric=fields.electric.masked_scatter(edges, electric))
    fields = step.faraday(fields, t + dt, -dt)
    return tree.replace(
        fields,
        magnetic=fields.magnetic.masked_scatter(faces, magnetic),
        polarization=polarization,
        magnetization=magnetization,
        memory=tuple(memory),
    )
