"""Cavities of which every mode is known: a box, and with conformal metal cylinders and a sphere, also off the grid."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from elec.fdtd import GaussianDerivative, Media, dipole, point_probe, uniform_media, yee_step
from elec.fdtd.conformal import cut_scene_media
from elec.fdtd.energy import cavity_frequency, cavity_mode, energy, oscillation_frequency, scheme_frequency
from elec.geometry import Scene, Solid, box, cylinder, sphere
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.validation.multiplets import multiplet
from elec.validation.rows import above, below, size
from mindsci import tree
from mindsci.report import Report, Row
from mindsci.solvers import rollout
from mindsci.units import SPEED_OF_LIGHT

Point = tuple[float, float, float]

BOX = (0.050, 0.030, 0.040)
"""Edges of the box [m]."""
BAND = 10e9
"""Highest frequency [Hz] at which its modes are counted."""
OFF_NODES = ((0.23, 0.31, 0.17), (0.71, 0.57, 0.83))
"""Where the box is excited and observed, as fractions of its edges: on no nodal plane of a mode below 10 GHz."""
RADIUS, LENGTH = 20e-3, 30e-3
"""Of the cylinder [m]; the radius is that of the sphere too."""
CYLINDER = {"TM010": 5.737126e9, "TE111": 6.652754e9, "TM011": 7.607893e9}
"""[Hz], from the roots of J0, J1' and p pi / d [Pozar2012, sec. 6.4]."""
SPHERE = {
    "TM101": 2.743707 * SPEED_OF_LIGHT / (2.0 * math.pi * RADIUS),
    "TM201": 3.870239 * SPEED_OF_LIGHT / (2.0 * math.pi * RADIUS),
}
"""[Hz], from the roots of (x j1(x))' and (x j2(x))'."""
MEMBERS = {"TM101": 3, "TM201": 5}
"""How many equal modes of the sphere these are: 2 l + 1."""
COURANT = 0.99


def cavity(cell: float = 1.0, duration: float = 100.0) -> Report:
    """Returns the modes below 10 GHz of a 50 x 30 x 40 mm box that a dipole excites, and the order of convergence.

    cell [mm] must divide the edges; duration [ns] sets how near two modes may lie. Gates: every mode within 0.1 % of
    the law, and within 0.001 % of where the scheme's own dispersion relation puts it; none missing or extra; second
    order; energy kept to rounding. At 1 mm the dispersion relation itself is 0.083 % off in mode 301, three half waves
    along 50 cells.
    """
    return Report(name="cavity", rows=box_modes(cell * 1e-3, duration * 1e-9))


def validations() -> list[Row]:
    """Returns the rows of all cavities, about a minute on two cores."""
    rows = box_modes(1e-3, 100e-9)
    rows += refined("cylinder", CYLINDER, cylinder_case)
    rows += refined(
        "cylinder off the grid", CYLINDER, lambda cells: cylinder_case(cells, shift=(0.3, 0.17, 0.0)), counts=(20,)
    )
    rows += refined("tilted cylinder", CYLINDER, lambda cells: cylinder_case(cells, tilt=0.7), counts=(10, 14, 20))
    rows += sphere_rows()
    return rows + kept_energy()


def box_modes(cell: float, duration: float) -> list[Row]:
    """Returns the rows of the box: each mode, their number, the order in the cell [m], the energy."""
    started = time.perf_counter()
    grid, rows = _box_grid(cell), []
    expected = cavity_modes(BOX, BAND)
    points = [tuple(part * a for part, a in zip(parts, BOX, strict=True)) for parts in OFF_NODES]
    found = resonances(grid, uniform_media(grid), points, highest=BAND, duration=duration, courant=0.9)
    extra = size(grid, time.perf_counter() - started)
    for names, exact in expected:
        measured = min(found, key=lambda peak: abs(peak - exact)) if found else math.nan
        scheme = scheme_frequency([int(m) for m in names[:3]], BOX, grid.shape, 0.9 * grid.courant_limit())
        error, beside = 100 * (measured / exact - 1), 100 * (measured / scheme - 1)
        rows.append(
            Row(
                case=f"box mode {names}",
                measured=measured / 1e9,
                unit="GHz",
                reference=exact / 1e9,
                gate="within 0.1 %; 0.001 % of the scheme",
                ok=abs(error) <= 0.1 and abs(beside) <= 1e-3,
                extra={"error %": error, "against the scheme %": beside} | extra,
            )
        )
    count = len(expected)
    rows.append(
        Row(case="box, modes found", measured=len(found), reference=count, gate="equal", ok=len(found) == count)
    )
    for mode in ((1, 0, 1), (1, 1, 1), (2, 1, 0)):
        order = _box_order(mode)
        ok = abs(order - 2.0) <= 0.1
        rows.append(Row(case=f"box, order of {mode}", measured=order, reference=2.0, gate="2.0 +- 0.1", ok=ok))
    drift = _energy_drift()
    rows.append(Row(case="box, energy change over 2000 steps", measured=drift, gate="< 1e-11", ok=drift < 1e-11))
    return rows


def cavity_modes(edges: Sequence[float], highest: float) -> list[tuple[str, float]]:
    """Returns (indices, frequency [Hz]) of the distinct resonances of a box; at most one index of a mode is zero."""
    modes: dict[float, list[str]] = {}
    for mode in itertools.product(range(8), repeat=3):
        frequency = cavity_frequency(mode, edges)
        if mode.count(0) <= 1 and frequency < highest:
            modes.setdefault(round(frequency, 3), []).append("".join(map(str, mode)))
    return [(" ".join(names), frequency) for frequency, names in sorted(modes.items())]


def resonances(
    grid: Grid, media: Media, points: Sequence[Sequence[float]], *, highest: float, duration: float, courant: float
) -> list[float]:
    """Returns the frequencies [Hz] below `highest` of the peaks of what is heard at the second point when the first is
    struck, over a duration [s]: peaks nearer than 3 / duration are one."""
    dt = courant * grid.courant_limit()
    places = [_clear_of_walls(grid, grid.locate(point)) for point in points]
    wave = GaussianDerivative(frequency_max=1.5 * highest)
    sources = [dipole(grid, axis, places[0], wave) for axis in range(3)]
    probes = [point_probe(axis, places[1]) for axis in range(3)]
    step = yee_step(grid, media, sources=sources, probes=probes)
    skipped = math.ceil(wave.duration / dt)
    n_steps = skipped + math.ceil(duration / dt)
    fields, _ = rollout(step, step.start(n_steps), n_steps=n_steps, dt=dt)
    return _peaks(fields.records[:, skipped:], dt, highest)


def _clear_of_walls(grid: Grid, place: Sequence[int]) -> list[int]:
    return [max(1, min(index, cells - 1)) for index, cells in zip(place, grid.shape, strict=True)]


def _peaks(signal: Float[Tensor, "probes samples"], dt: float, highest: float) -> list[float]:
    # A Blackman window keeps the skirts of strong modes 58 dB below them, where weak neighbours stand.
    window = torch.blackman_window(signal.shape[1], periodic=False, dtype=torch.float64)
    count = 4 * signal.shape[1]
    level = torch.fft.rfft(signal * window, n=count, dim=1).abs().sum(0).log()
    bins = torch.arange(1, int(highest * count * dt))
    before, here, after = level[bins - 1], level[bins], level[bins + 1]
    peaks = bins[(here > before) & (here >= after) & (here > level.max() - math.log(400.0))]
    offset = 0.5 * (level[peaks - 1] - level[peaks + 1]) / (level[peaks - 1] - 2 * level[peaks] + level[peaks + 1])
    return ((peaks + offset) / (count * dt)).tolist()


def cylinder_case(cells: int, *, shift: Point = (0.0, 0.0, 0.0), tilt: float = 0.0) -> tuple[Grid, Media]:
    """Returns the cylindrical cavity with `cells` across its diameter, moved by a shift [cells] or with its axis turned
    from z towards x by a tilt [rad]; without either its ends lie on the grid."""
    axis = torch.tensor([math.sin(tilt), 0.0, math.cos(tilt)], dtype=torch.float64)
    cell = 2.0 * RADIUS / cells
    pitch = LENGTH / round(LENGTH / cell)
    reach = [0.5 * LENGTH * abs(float(along)) + RADIUS * math.sqrt(max(0.0, 1.0 - float(along) ** 2)) for along in axis]
    grid = _around([0.0, 0.0, -0.5 * LENGTH], reach, (cell, cell, pitch))
    center = cell * torch.tensor(shift, dtype=torch.float64)
    return grid, _hollow(grid, cylinder(center - 0.5 * LENGTH * axis, center + 0.5 * LENGTH * axis, RADIUS))


def sphere_case(cells: int, *, shift: Point = (0.3, 0.17, 0.4)) -> tuple[Grid, Media]:
    """Returns the spherical cavity with `cells` across its diameter, moved by a shift [cells]."""
    cell = 2.0 * RADIUS / cells
    grid = _around([0.0] * 3, [RADIUS] * 3, (cell, cell, cell))
    return grid, _hollow(grid, sphere(cell * torch.tensor(shift, dtype=torch.float64), RADIUS))


def _around(on_node: Sequence[float], reach: Sequence[float], cells: Sequence[float]) -> Grid:
    """A grid two cells wider than the reach, of which a node lies at a point."""
    lines = []
    for place, extent, cell in zip(on_node, reach, cells, strict=True):
        first, last = math.floor((-extent - place) / cell) - 2, math.ceil((extent - place) / cell) + 2
        lines.append(place + cell * torch.arange(first, last + 1, dtype=torch.float64))
    return Grid(x=lines[0], y=lines[1], z=lines[2])


def _hollow(grid: Grid, hole: Solid) -> Media:
    wide = 10.0 * RADIUS
    metal = box((-wide, -wide, -wide), (wide, wide, wide)) - hole
    return cut_scene_media(Scene(parts=(Body(name="wall", solid=metal),), materials={}), grid)


def refined(
    name: str,
    modes: Mapping[str, float],
    case: Callable[[int], tuple[Grid, Media]],
    counts: Sequence[int] = (10, 20, 40),
    duration: float = 40e-9,
) -> list[Row]:
    """Returns the rows of a cavity on grids of `counts` cells across it: the largest error of the modes on each, and
    the order in the cell, the slope of the root mean square of the errors: a single one may change its sign.

    At 20 cells the largest error has a gate.
    """
    sizes, rows = [], []
    points = ((0.3 * RADIUS, 0.2 * RADIUS, -0.15 * RADIUS), (-0.25 * RADIUS, 0.45 * RADIUS, 0.1 * RADIUS))
    for cells in counts:
        started = time.perf_counter()
        grid, media = case(cells)
        found = resonances(grid, media, points, highest=1.1 * max(modes.values()), duration=duration, courant=COURANT)
        errors = {
            mode: 100.0 * (min(found, key=lambda peak: abs(peak - exact)) / exact - 1.0)
            for mode, exact in modes.items()
        }
        worst = max(errors.values(), key=abs)
        sizes.append(math.sqrt(sum(error**2 for error in errors.values()) / len(errors)))
        gated = cells == 20 and not name.startswith("tilted")
        rows.append(
            Row(
                case=f"{name}, {cells} cells across: largest error of {', '.join(modes)}",
                measured=worst,
                unit="%",
                reference=0.0,
                gate="within 0.1 %" if gated else None,
                ok=abs(worst) < 0.1 if gated else None,
                extra=dict(size(grid, time.perf_counter() - started)),
            )
        )
    if len(counts) > 1:
        order = _slope(counts, sizes)
        rows.append(Row(case=f"{name}, order in the cell", measured=order, gate=">= 1.9", ok=order >= 1.9))
    return rows


def sphere_rows(counts: Sequence[int] = (10, 14, 20)) -> list[Row]:
    """Returns the rows of the spherical cavity: on each grid the error of a multiplet's mean, the largest of the two,
    and beside it the largest error of a single member; and the order of the means.

    At 20 cells the mean has the gate of all cavities: see `elec.validation.multiplets` for why the mean.
    """
    rows, sizes = [], []
    for cells in counts:
        started = time.perf_counter()
        means, single = multiplet_errors(cells)
        worst = max(means.values(), key=abs)
        sizes.append(math.sqrt(sum(mean**2 for mean in means.values()) / len(means)))
        spent = dict(size(sphere_case(cells)[0], time.perf_counter() - started))
        name, gated = f"sphere, {cells} cells across: largest error of", cells == 20
        rows += [
            Row(
                case=f"{name} the mean of {', '.join(means)}",
                measured=worst,
                unit="%",
                reference=0.0,
                gate="within 0.1 %" if gated else None,
                ok=abs(worst) < 0.1 if gated else None,
                extra=spent,
            ),
            Row(case=f"{name} a single member", measured=single, unit="%", reference=0.0, extra=spent),
        ]
    order = _slope(counts, sizes)
    return [*rows, Row(case="sphere, order of the means", measured=order, gate=">= 1.9", ok=order >= 1.9)]


def multiplet_errors(cells: int) -> tuple[dict[str, float], float]:
    """Returns the error [%] of the mean of each multiplet of the sphere, and the largest error of a single member."""
    grid, media = sphere_case(cells)
    means, members = {}, []
    for mode, exact in SPHERE.items():
        found, _ = multiplet(grid, media, exact, MEMBERS[mode], COURANT * grid.courant_limit())
        means[mode] = 100.0 * (float(found.mean()) / exact - 1.0)
        members += (100.0 * (found / exact - 1.0)).tolist()
    return means, max(members, key=abs)


def _slope(counts: Sequence[int], errors: Sequence[float]) -> float:
    """Least-squares slope of log error against log cell."""
    x, y = (torch.tensor(values, dtype=torch.float64).log() for values in (counts, errors))
    x, y = x - x.mean(), y - y.mean()
    return -float((x * y).sum() / (x * x).sum())


def kept_energy(n_steps: int = 6_000) -> list[Row]:
    """Returns what is left of the energy in the conformal cylinder and in the tilted one, in single precision."""
    rows = []
    for name, (grid, media) in {
        "cylinder": cylinder_case(20),
        "tilted cylinder": cylinder_case(20, tilt=0.7),
    }.items():
        started = time.perf_counter()
        left = _energy_left(grid, tree.to(media, dtype=torch.float32), n_steps)
        case = f"{name}, energy left after {n_steps} steps at {COURANT} of the Courant limit"
        rows.append(above(case, left, 0.999, **size(grid, time.perf_counter() - started)))
        rows.append(
            below(case.replace("left", "gained"), left - 1.0, 1e-3, **size(grid, time.perf_counter() - started))
        )
    return rows


def _energy_left(grid: Grid, media: Media, n_steps: int) -> float:
    dt = COURANT * grid.courant_limit()
    wave = GaussianDerivative(frequency_max=20e9)
    source = dipole(grid, 2, _clear_of_walls(grid, grid.locate((0.3 * RADIUS, 0.2 * RADIUS, -0.15 * RADIUS))), wave)
    begin = math.ceil(wave.duration / dt)
    driven, free = yee_step(grid, media, sources=[source]), yee_step(grid, media)
    fields = driven.advance(driven.start(), 0.0, dt, begin)
    energies = []
    for count in (n_steps, 0):
        energies.append(energy(grid, media, fields, free.advance(fields, 0.0, dt, 1)))
        if count:
            fields = free.advance(fields, 0.0, dt, count)
    return energies[1] / energies[0]


def _box_grid(cell: float) -> Grid:
    x, y, z = (torch.linspace(0.0, a, round(a / cell) + 1, dtype=torch.float64) for a in BOX)
    return Grid(x=x, y=y, z=z)


def _box_order(mode: tuple[int, int, int]) -> float:
    """Observed order of the frequency error from 2.5 to 1.25 mm, of the fields started in the mode itself."""
    polarisation = (1.0, 1.0, -2.0) if 0 not in mode else tuple(1.0 if m == 0 else 0.0 for m in mode)
    component = max(range(3), key=lambda axis: abs(polarisation[axis]))
    errors = []
    for cell in (2.5e-3, 1.25e-3):
        grid = _box_grid(cell)
        dt = 0.9 * grid.courant_limit()
        place = [max(1, round(n * 0.37)) for n in grid.shape]
        step = yee_step(grid, uniform_media(grid), probes=[point_probe(component, place)])
        fields, _ = rollout(step, cavity_mode(step.start(400), grid, mode, polarisation), n_steps=400, dt=dt)
        errors.append(abs(oscillation_frequency(fields.records[0], dt) - cavity_frequency(mode, BOX)))
    return math.log2(errors[0] / errors[1])


def _energy_drift() -> float:
    """Largest relative change of the energy of a mode over 2000 steps at 2.5 mm."""
    grid = _box_grid(2.5e-3)
    media = uniform_media(grid)
    dt = 0.9 * grid.courant_limit()
    step = yee_step(grid, media)
    fields, energies = cavity_mode(step.start(), grid, (1, 1, 1), (1.0, 1.0, -2.0)), []
    for start in range(0, 2001, 400):
        energies.append(energy(grid, media, fields, step.advance(fields, start * dt, dt, 1)))
        fields, _ = rollout(step, fields, n_steps=400, dt=dt, start=start)
    return max(abs(value / energies[0] - 1.0) for value in energies)
