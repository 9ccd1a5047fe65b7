"""Magnetic walls on either side: pieces of a box cavity between planes across which the electric field is even.

The mode sin(m pi x / a) of the tangential field of a box of perfect metal [Pozar2012, eq. 6.40] is even about its
crests. The piece between two of its nodes and crests, with "pec" where it has a node and "pmc" where it has a crest, is
a closed system of its own that rings at the frequency of the whole: of the scheme, sin^2(pi f dt) / (c dt)^2 = sum
sin^2(pi m / 2 n) / (a / n)^2 [Taflove2005, sec. 4.3], to rounding, and its energy stays what it is to rounding.
"""

from __future__ import annotations

import pytest
import torch

from elec.fdtd import Walls, point_probe, uniform_media, yee_step
from elec.fdtd.energy import cavity_mode, energy, oscillation_frequency, scheme_frequency
from elec.grid import Grid
from mindsci import tree
from mindsci.errors import InputError

# Along the first axis the whole box holds two half waves in 16 cells: crests at 4 and 12, nodes at 0, 8 and 16.
CELLS, LENGTHS = (16, 6, 5), (0.16, 0.05, 0.04)
PIECES = {("pec", "pmc"): (0, 4), ("pmc", "pec"): (4, 8), ("pmc", "pmc"): (4, 12), ("pec", "pec"): (0, 8)}


def line(axis: int) -> torch.Tensor:
    return torch.linspace(0.0, LENGTHS[axis], CELLS[axis] + 1, dtype=torch.float64)


@pytest.mark.parametrize("sides", PIECES)
@pytest.mark.parametrize("turn", [0, 1, 2])
def test_a_piece_between_crests_and_nodes_rings_as_the_whole_box(sides: tuple[str, str], turn: int) -> None:
    axes = [(axis - turn) % 3 for axis in range(3)]  # axis -> which of the lengths it has
    whole = Grid(**{name: line(axes[axis]) for axis, name in enumerate("xyz")})
    mode, polarisation = [(2, 1, 0)[a] for a in axes], [(0.0, 0.0, 1.0)[a] for a in axes]
    place, component = axes.index(0), axes.index(2)
    first, last = PIECES[sides]
    walls = Walls(**{"xyz"[place]: sides})
    piece = Grid(**{n: whole.nodes(a)[first : last + 1] if a == place else whole.nodes(a) for a, n in enumerate("xyz")})
    media = uniform_media(piece, walls=walls)
    dt = 0.9 * whole.courant_limit()
    probe = [2, 2, 2]
    step = yee_step(piece, media, walls=walls, probes=[point_probe(component, probe)], engine="reference")
    rest = yee_step(whole, uniform_media(whole), engine="reference").start()
    electric = cavity_mode(rest, whole, mode, polarisation).electric.narrow(place + 1, first, last - first + 1).clone()
    fields = start = tree.replace(step.start(120), electric=electric)
    fields = step.advance(fields, 0.0, dt, 120)
    found = oscillation_frequency(fields.records[0], dt)
    sizes = [LENGTHS[a] for a in axes]
    assert found == pytest.approx(scheme_frequency(mode, sizes, [CELLS[a] for a in axes], dt), rel=1e-9)
    energies = [energy(piece, media, one, step.advance(one, 0.0, dt, 1), walls=walls) for one in (start, fields)]
    assert energies[1] == pytest.approx(energies[0], rel=1e-12)


def test_kernels_refuse_a_magnetic_wall_on_a_high_side() -> None:
    grid, walls = Grid(x=line(0), y=line(1), z=line(2)), Walls(y=("pec", "pmc"))
    media = uniform_media(grid, walls=walls)
    assert yee_step(grid, media, walls=walls).engine == "reference"
    with pytest.raises(InputError, match="a magnetic wall on a high side"):
        yee_step(grid, media, walls=walls, engine="numba")


def test_media_for_other_walls_are_refused() -> None:
    grid = Grid(x=line(0), y=line(1), z=line(2))
    with pytest.raises(InputError, match="the wall at the high side of y is 'pmc'"):
        yee_step(grid, uniform_media(grid), walls=Walls(y=("pec", "pmc")))
