"""The resistive voltage port against circuits of which the answer is known.

Lossless box: a port of one edge inside a closed box of perfect conductor sees no loss, so |S11| = 1 at every frequency.
The scheme has no numerical loss either, and the port's voltage and its source are taken at the same half steps: the
statement holds for the scheme itself, and what is left is the ring-down that the record cuts off and rounding, 1e-9. A
voltage taken half a step late would show as an error of omega dt / 2, some 1e-2 here.

Resistor: a port and a load R between two small plates. At 50 MHz the plates' capacitance and the loop's inductance
(1 mm: about 1 nH, 0.3 ohm of 50) leave S11 = (R - R0) / (R + R0) [Pozar2012, eq. 2.35] to 1 %.
"""

from __future__ import annotations

import pytest
import torch

from elec.fdtd import GaussianDerivative, VoltagePort, absorbing_layers, uniform_media, yee_step
from elec.fdtd.media import Media
from elec.fdtd.sources import dual_areas
from elec.grid import Grid
from mindsci import tree

Place = tuple[int, int, int]


def even_grid(nodes: Place, cell: float = 1e-3) -> Grid:
    x, y, z = (cell * torch.arange(n, dtype=torch.float64) for n in nodes)
    return Grid(x=x, y=y, z=z)


def port_between(grid: Grid, low: Place, high: Place, frequency: float, resistance: float = 50.0) -> VoltagePort:
    start, stop = (tuple(float(grid.nodes(axis)[n]) for axis, n in enumerate(place)) for place in (low, high))
    return VoltagePort(
        start=start,  # type: ignore[arg-type]
        stop=stop,  # type: ignore[arg-type]
        axis=2,
        resistance=resistance,
        waveform=GaussianDerivative(frequency_max=frequency),
    )


def test_a_lossless_box_sends_everything_back() -> None:
    """Below the first resonance of the box, so that nothing keeps ringing at the frequencies looked at."""
    grid = even_grid((7, 6, 6), cell=2e-3)
    port = port_between(grid, (3, 2, 2), (3, 2, 3), frequency=12e9)
    # a post from the floor and one from the ceiling, so that the port drives a gap between them
    metal = torch.zeros(3, 7, 6, 6, dtype=torch.bool)
    metal[2, 3, 2, :2] = metal[2, 3, 2, 3:] = True
    media, source, probe = port.place(grid, uniform_media(grid, metal=metal))
    step = yee_step(grid, media, sources=[source], probes=[probe])
    dt = 0.95 * grid.courant_limit()
    n_steps = 20_000
    fields = step.advance(step.start(n_steps), 0.0, dt, n_steps)
    frequencies = torch.linspace(1e9, 12e9, 23, dtype=torch.float64)
    reflection = port.reflection(fields.records[0], dt, frequencies)
    assert (reflection.abs() - 1.0).abs().max() < 1e-9
    assert reflection.angle().diff().abs().max() > 0.05


def with_load(grid: Grid, media: Media, place: Place, resistance: float) -> Media:
    """The media with a resistor [ohm] along one z edge."""
    area = float(dual_areas(grid, 2, torch.tensor([place]))[0])
    conductivity = media.conductivity.clone()
    conductivity[(2, *place)] = float(grid.spacing(2)[place[2]]) / (resistance * area)
    return tree.replace(media, conductivity=conductivity)


@pytest.mark.parametrize("load", [10.0, 50.0, 200.0])
@pytest.mark.parametrize(
    ("low", "high"),
    [((8, 8, 8), (8, 8, 9)), ((7, 7, 8), (8, 9, 9)), ((7, 8, 8), (8, 8, 10))],
    ids=["one edge", "six columns", "two columns of two"],
)
def test_a_resistor_is_seen_as_one_whatever_edges_the_port_has(low: Place, high: Place, load: float) -> None:
    nodes = (18, 18, 18)
    grid = even_grid(nodes)
    metal = torch.zeros(3, *nodes, dtype=torch.bool)
    for plate in (low[2], high[2]):
        metal[0, 7:10, 7:10, plate] = True
        metal[1, 7:11, 7:9, plate] = True
    media = uniform_media(grid, metal=metal)
    heights = range(low[2], high[2])
    for height in heights:
        media = with_load(grid, media, (9, 8, height), load / len(heights))
    port = port_between(grid, low, high, frequency=3e9)
    media, source, probe = port.place(grid, media)
    step = yee_step(grid, media, sources=[source], probes=[probe], absorber=absorbing_layers(grid, 4))
    dt = 0.95 * grid.courant_limit()
    fields = step.advance(step.start(2000), 0.0, dt, 2000)
    reflection = port.reflection(fields.records[0], dt, torch.tensor([5e7], dtype=torch.float64))[0]
    assert reflection.real == pytest.approx((load - 50.0) / (load + 50.0), abs=1e-2)
    assert abs(reflection.imag) < 2e-2


def test_the_shares_of_an_uneven_port_add_up_to_its_resistance() -> None:
    """Columns conduct in proportion to the width that each has in the box: conductance 1 / R in all."""
    x = 1e-3 * torch.tensor([0.0, 1.0, 2.0, 2.5, 4.0, 5.0], dtype=torch.float64)
    grid = Grid(x=x, y=x, z=x)
    port = port_between(grid, (1, 1, 1), (4, 3, 4), frequency=1e9, resistance=75.0)
    media, source, probe = port.place(grid, uniform_media(grid))
    index = tuple(source.places.unbind(1))
    lengths = grid.spacing(2)[source.places[:, 3]]
    resistances = lengths / (media.conductivity[index] * dual_areas(grid, 2, source.places[:, 1:]))
    conductances = {}
    for (_, i, j, _), resistance in zip(source.places.tolist(), resistances.tolist(), strict=True):
        conductances[i, j] = conductances.get((i, j), 0.0) + resistance
    assert sum(1.0 / series for series in conductances.values()) == pytest.approx(1.0 / 75.0, rel=1e-12)
    uniform_field = torch.ones(3, 6, 6, 6, dtype=torch.float64)
    assert float(probe.read(uniform_field, uniform_field)[0]) == pytest.approx(3e-3)  # 1 V/m over 3 mm
