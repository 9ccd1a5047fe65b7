"""Small FDTD problems that use everything at once, for tests that compare engines and gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from elec.fdtd import (
    Box,
    GaussianDerivative,
    Monitors,
    Poles,
    Source,
    VoltagePort,
    Walls,
    YeeStep,
    absorbing_layers,
    dipole,
    point_probe,
    scene_media,
    uniform_media,
    yee_step,
)
from elec.fields import Fields
from elec.geometry import Scene, sphere
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material
from elec.validation.cavities import cylinder_case
from mindsci import tree

LAYERS = ((4, 3), (3, 4), (5, 2))
PULSE = GaussianDerivative(frequency_max=40e9)

BOX = Walls()
# The first two share an edge: a Lorentz pair with an inductor beside it; the third is a Debye term.
POLES = Poles(
    edges=torch.tensor([[0, 7, 9, 6], [0, 7, 9, 6], [2, 12, 7, 9]]),
    rate=torch.tensor([-2e10 + 9e10j, -1e9 + 0j, -3e10 + 0j], dtype=torch.complex128),
    jump=torch.tensor([0.5 - 0.7j, 0j, 1.5 + 0j], dtype=torch.complex128),
    drive=torch.tensor([0j, 2e10 + 0j, 0j], dtype=torch.complex128),
)

# On faces: a pair, and beside it on the same face the skin of a conductor.
MAGNETIC_POLES = Poles(
    edges=torch.tensor([[1, 8, 10, 6], [1, 8, 10, 6], [2, 6, 9, 11]]),
    rate=torch.tensor([-3e10 + 7e10j, -2e10 + 0j, -5e10 + 0j], dtype=torch.complex128),
    jump=torch.tensor([4e4 - 6e4j, 3e4 + 0j, 8e4 + 0j], dtype=torch.complex128),
    drive=torch.tensor([0j, 0j, 1e15 + 0j], dtype=torch.complex128),
)


def _two_signals(t: Tensor) -> Tensor:
    return torch.stack([PULSE(t), PULSE(t - 1e-11)], dim=1)


TWO_SIGNALS = Source(
    places=torch.tensor([[1, 9, 12, 8], [0, 14, 6, 10], [1, 9, 12, 8]]),
    amplitude=torch.tensor([200.0, -300.0, 100.0], dtype=torch.float64),
    waveform=_two_signals,
    kind="magnetic current",
    columns=torch.tensor([0, 1, 1]),
)


def uneven_grid(nodes: tuple[int, int, int]) -> Grid:
    """A grid whose cells are 1 to 1.4 mm at random."""
    generator = torch.Generator().manual_seed(1)
    axes = []
    for count in nodes:
        cells = 1e-3 * (1.0 + 0.4 * torch.rand(count - 1, generator=generator, dtype=torch.float64))
        axes.append(torch.cat([torch.zeros(1, dtype=torch.float64), cells.cumsum(0)]))
    return Grid(x=axes[0], y=axes[1], z=axes[2])


def random_values(nodes: tuple[int, int, int], seed: int) -> Tensor:
    """Numbers in 0..1 for every component and node."""
    return torch.rand(3, *nodes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _some(nodes: tuple[int, int, int], most: float) -> Tensor:
    """Numbers up to `most` in half of the grid along each of two axes."""
    values = most * random_values(nodes, 5)
    values[:, : nodes[0] // 2] = 0.0
    values[:, :, nodes[1] // 2 :] = 0.0
    return values


def everything(
    nodes: tuple[int, int, int] = (24, 20, 22),
    *,
    dtype: torch.dtype = torch.float64,
    engine: str = "reference",
    layers: tuple[tuple[int, int], ...] = LAYERS,
    lossy: bool = True,
    walls: Walls = BOX,
) -> tuple[Grid, YeeStep]:
    """Uneven cells, layers of six thicknesses, random lossy media with three poles, two of them on one edge, as many
    magnetic ones, a metal sheet, a port of nine columns of three edges, a dipole, a held field, magnetic currents of
    two signals, probes of both fields, and monitors of both. Without loss there are no poles and no port; no layers on
    sides that are no conductor."""
    grid = uneven_grid(nodes)
    metal = torch.zeros(3, *nodes, dtype=torch.bool)
    metal[0, 8:14, 6:9, 7] = True
    metal[1, 8:14, 6:8, 7] = True
    media = uniform_media(
        grid,
        permittivity=1.0 + 3.0 * random_values(nodes, 2),
        conductivity=0.1 * random_values(nodes, 3) if lossy else 0.0,
        permeability=1.0 + random_values(nodes, 4),
        metal=metal,
        poles=POLES if lossy else None,
        magnetic_conductivity=_some(nodes, 1e4) if lossy else None,
        magnetic_poles=MAGNETIC_POLES if lossy else None,
        walls=walls,
        dtype=dtype,
    )
    low, high = (
        tuple(float(grid.nodes(axis)[n]) for axis, n in enumerate(place)) for place in ((10, 10, 9), (12, 12, 12))
    )
    port = VoltagePort(start=low, stop=high, axis=2, resistance=50.0, waveform=PULSE)  # type: ignore[arg-type]
    with_port, source, probe = port.place(grid, media)
    layers = tuple(
        tuple(count if wall == "pec" else 0 for count, wall in zip(layers[axis], walls.sides(axis), strict=True))
        for axis in range(3)
    )
    driven = [TWO_SIGNALS, dipole(grid, 1, (15, 9, 11), PULSE), dipole(grid, 0, (5, 5, 5), PULSE, kind="field")]
    boxes = (Box(low=(6, 6, 8), high=(16, 12, 9)), Box(low=(6, 6, 8), high=(7, 12, 14), field="magnetic"))
    step = yee_step(
        grid,
        with_port if lossy else media,
        absorber=absorbing_layers(grid, layers),
        walls=walls,
        sources=[source, *driven] if lossy else driven,
        probes=[probe, point_probe(0, (12, 5, 9)), point_probe(4, (7, 9, 11))],
        monitors=Monitors(boxes=boxes, frequencies=(5e9, 9e9), every=3),
        engine=engine,
    )
    return grid, step


def cut_metal(*, engine: str = "reference", dtype: torch.dtype = torch.float64) -> tuple[Grid, YeeStep]:
    """A cavity whose walls cut cells at a slant, with a dipole, probes and monitors inside."""
    grid, media = cylinder_case(14, tilt=0.35)
    middle = tuple(count // 2 for count in grid.shape)
    inside = Box(low=tuple(n - 2 for n in middle), high=tuple(n + 2 for n in middle))  # type: ignore[arg-type]
    step = yee_step(
        grid,
        tree.to(media, dtype=dtype),
        sources=[dipole(grid, 1, middle, PULSE)],  # type: ignore[arg-type]
        probes=[point_probe(0, middle), point_probe(4, middle)],  # type: ignore[arg-type]
        monitors=Monitors(boxes=(inside,), frequencies=(6e9,), every=3),
        engine=engine,
    )
    return grid, step


def slanted(
    *,
    engine: str = "reference",
    dtype: torch.dtype = torch.float64,
    walls: Walls = BOX,
    amplitude: Tensor | None = None,
) -> tuple[Grid, YeeStep]:
    """A ball across the low walls of an uneven grid, whose edges act on one another, with layers around."""
    grid = uneven_grid((15, 14, 16))
    glass = Material(name="glass", relative_permittivity=6.0)
    ball = Body(name="ball", solid=sphere((5.6e-3, 4.7e-3, 6.3e-3), 5.9e-3), material="glass")
    media = scene_media(Scene(parts=(ball,), materials={"glass": glass}), grid, walls=walls, dtype=dtype)
    layers = tuple((0, 0 if walls.periodic(axis) else 3) for axis in range(3))
    source = dipole(grid, 1, (7, 6, 8), PULSE)
    if amplitude is not None:
        source = tree.replace(source, amplitude=amplitude)
    step = yee_step(
        grid,
        media,
        absorber=absorbing_layers(grid, layers),
        walls=walls,
        sources=[source],
        probes=[point_probe(0, (9, 5, 9)), point_probe(4, (7, 9, 8))],
        monitors=Monitors(boxes=(Box(low=(2, 2, 2), high=(9, 9, 5)),), frequencies=(5e9, 9e9), every=3),
        engine=engine,
    )
    return grid, step


def owned(fields: Fields, walls: Walls) -> Fields:
    """The fields without what the last nodes of periodic axes remember of absorbing layers: nothing ever reads it."""
    memory = []
    for along, values in enumerate(fields.memory):
        for axis in range(3):
            if walls.periodic(axis) and axis != along:
                values = values.narrow(axis + 1, 0, values.shape[axis + 1] - 1)
        memory.append(values)
    return tree.replace(fields, memory=tuple(memory))
