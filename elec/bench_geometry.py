"""`mindsci bench geometry`: how fast points find a surface of many triangles, and how much memory it takes."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from elec.geometry.part import Part
from elec.geometry.shapes import Torus, faceted, torus
from elec.geometry.surface import Surface, surface_of
from elec.geometry.voxels import occupancy
from elec.geometry.winding import inside, signed_distance
from elec.grid import Grid
from mindsci.errors import InputError
from mindsci.random import uniform
from mindsci.report import Report, Row

GATE = 60.0
"""Seconds for ten million points against a hundred thousand triangles on two cores: seconds, not minutes."""
RING, TUBE = 1.0, 0.4
HALF = 1.5
"""Half of the cube that the points fill [m]."""
BLOCK = 1 << 20
"""Points made at a time: what the library needs besides is seen in the memory, not the points themselves."""


def geometry(points: int = 10_000_000, triangles: int = 100_000) -> Report:
    """Returns points a second of signed distance, inside at any points, and occupancy of a grid, for a torus.

    Each ends with a check against the torus itself. The index of the surface is built once and timed on its own;
    compilation is not counted. "peak memory" is the most that the process has held so far, interpreter, libraries and
    the block of points included; "processor share" is the processor time that the run got of that of its threads: below
    1 other work took the cores.
    """
    if points < 1000 or triangles < 200:
        raise InputError(f"points = {points}, triangles = {triangles}: use at least 1000 and 200")
    segments = max(3, round(math.sqrt(triangles / 2)))
    solid = torus((0, 0, 0), (0, 0, 1), RING, TUBE)
    part = faceted(solid, "torus", segments=segments)
    _warm(part)
    began = time.perf_counter()
    Surface(part.vertices.numpy(), part.faces.numpy())
    built = time.perf_counter() - began
    surface_of(part)
    default = (points, triangles) == (10_000_000, 100_000)
    # A chord of the largest circle around, and one of the tube.
    gap = (RING + 2.0 * TUBE) * (1.0 - math.cos(math.pi / segments)) * (1.0 + 1e-9)
    rows = [
        Row(case=f"index of {len(part.faces)} triangles", measured=built, unit="s"),
        _timed(
            "signed distance, any points",
            points,
            lambda p, clock: _distance_error(part, solid, p, clock),
            gap,
            gate=default,
        ),
        _timed(
            "inside, any points", points, lambda p, clock: _inside_error(part, solid, p, gap, clock), 0.0, gate=default
        ),
        _lattice(part, solid, points, gap, gate=default),
    ]
    return Report(name="geometry", rows=rows)


class Clock:
    """Adds up the seconds, and the processor's seconds, of the blocks that it is entered for."""

    wall = 0.0
    processor = 0.0

    def __enter__(self) -> Clock:
        self.began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.wall += time.perf_counter() - self.began[0]
        self.processor += time.process_time() - self.began[1]


def _warm(part: Part) -> None:
    """Compiles; the index is another one each time."""
    few = _points(0, 2000)
    signed_distance(part, few, engine="numba")
    inside(part, few, engine="numba")


def _points(block: int, n: int) -> Tensor:
    return HALF * (2.0 * uniform(torch.empty(n, 3, dtype=torch.float64), seed=0, counter=block) - 1.0)


def _timed(case: str, n: int, work: Callable[[Tensor, Clock], float], limit: float, *, gate: bool) -> Row:
    """Runs the work on blocks of points; it runs the clock where it has to and returns its largest error."""
    clock, worst = Clock(), 0.0
    for block in range(0, n, BLOCK):
        worst = max(worst, work(_points(block, min(BLOCK, n - block)), clock))
    return _row(case, n, clock, worst, limit, gate=gate)


def _row(case: str, n: int, clock: Clock, worst: float, limit: float, *, gate: bool) -> Row:
    if worst > limit:
        raise RuntimeError(
            f"{case}: off by {worst:g}, more than the facets explain ({limit:g}); its speed means nothing"
        )
    return Row(
        case=f"{case}, {n:.0e}",
        measured=n / clock.wall / 1e6,
        unit="Mpoints/s",
        gate=f"< {GATE:g} s" if gate else None,
        ok=clock.wall < GATE if gate else None,
        extra={
            "seconds": clock.wall,
            "processor share": clock.processor / clock.wall / torch.get_num_threads(),
            "peak memory [MB]": _peak(),
            "threads": torch.get_num_threads(),
            "largest error": worst,
        },
    )


def _distance_error(part: Part, solid: Torus, points: Tensor, clock: Clock) -> float:
    with clock:
        found = signed_distance(part, points, engine="numba")
    return float((found - solid.signed_distance(points)).abs().max())


def _inside_error(part: Part, solid: Torus, points: Tensor, gap: float, clock: Clock) -> float:
    """The number of points on the wrong side that are clear of the facets."""
    with clock:
        found = inside(part, points, engine="numba")
    exact = solid.signed_distance(points)
    return float(((found != (exact < 0)) & (exact.abs() > gap)).sum())


def _lattice(part: Part, solid: Torus, points: int, gap: float, *, gate: bool) -> Row:
    n = round(points ** (1 / 3))
    nodes = torch.linspace(-HALF, HALF, n + 1, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes.clone(), z=nodes.clone())
    with (clock := Clock()):
        filled = occupancy(part, grid)
    wrong = 0.0
    for i, x in enumerate(grid.centers(0).tolist()):
        y, z = torch.meshgrid(grid.centers(1), grid.centers(2), indexing="ij")
        exact = solid.signed_distance(torch.stack([torch.full_like(y, x), y, z], dim=-1))
        wrong += float(((filled[i] != (exact < 0)) & (exact.abs() > gap)).sum())
    return _row("occupancy of a grid", n**3, clock, wrong, 0.0, gate=gate)


def _peak() -> float:
    """Most memory that the process has held [MB]; macOS counts bytes, Linux kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
