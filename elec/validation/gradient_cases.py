"""Small but whole problems whose objectives have derivatives: a loaded monopole, an antenna, spheres, a traced pulse.

Every parameter is a number that a designer turns, off the lines of the grid: no surface touches a plane of nodes, or
of the middles between them, where cuts begin and end.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from elec.fdtd import (
    Circuit,
    GaussianDerivative,
    LumpedElement,
    ModulatedGaussian,
    Monitors,
    VoltagePort,
    absorbing_layers,
    dipole,
    point_probe,
    scene_media,
    yee_step,
)
from elec.fdtd.conformal import cut_scene_media
from elec.fdtd.plane_wave import incident_spectrum, total_field_sources
from elec.fdtd.probes import Box
from elec.geometry import Scene, cylinder, sphere
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material, debye, lorentz
from elec.observables.absorption import point_rate
from elec.observables.cross_section import radar_cross_section
from elec.observables.far_field import far_field
from elec.observables.mass_average import cube_average, mass_average
from elec.observables.surface import Surface
from elec.ports.scattering import LumpedPort
from mindsci import tree
from mindsci.solvers import rollout
from mindsci.tree import Tree

Values = Mapping[str, Float[Tensor, ""]]
LAYERS, COURANT = 4, 0.95
METAL = Material(name="metal", kind="pec")


class How(Tree):
    """How a run is made and differentiated."""

    engine: str = "numba"
    dtype: torch.dtype = torch.float64
    adjoint: Any = None


class Case(Tree):
    """Objectives of the same parameters in one run."""

    name: str
    values: Mapping[str, float]
    objectives: tuple[str, ...]
    evaluate: Callable[[Values, How], dict[str, Float[Tensor, ""]]]
    cells: int


def _grid(cells: tuple[int, int, int], size: float, *, ground: bool = False) -> Grid:
    """Even cells [m] in absorbing layers; over a conducting ground, none at the low side of z."""
    x, y, z = (size * torch.arange(count + 1, dtype=torch.float64) for count in cells)
    return Grid(x=x, y=y, z=z, absorber_cells=((LAYERS,) * 2, (LAYERS,) * 2, (0 if ground else LAYERS, LAYERS)))


def _body(name: str, solid: Any, material: Material) -> Body:
    return Body(name=name, solid=solid, material=material.name)


def _scene(*parts: tuple[str, Any, Material]) -> Scene:
    return Scene(
        parts=tuple(_body(name, solid, material) for name, solid, material in parts),
        materials={material.name: material for _, _, material in parts},
    )


def _point(*coordinates: Any) -> Float[Tensor, "3"]:
    return torch.stack([torch.as_tensor(value, dtype=torch.float64) for value in coordinates])


def monopole() -> Case:
    """|S11| of a monopole over ground, loaded by a series circuit half-way up, beside a lump of lossy polar matter."""
    cell, n_steps = 1e-3, 300
    grid = _grid((22, 20, 17), cell, ground=True)
    dt, pulse = COURANT * grid.courant_limit(), GaussianDerivative(frequency_max=20e9)

    def evaluate(p: Values, how: How) -> dict[str, Tensor]:
        def post(low: float, high: float) -> Any:
            ends = (_point(p["post x"], 10.16e-3, z * cell) for z in (low, high))
            return cylinder(*ends, p["post radius"])

        matter = Material(
            name="matter", relative_permittivity=p["permittivity"], conductivity=p["conductivity"],
            poles=debye(p["Debye strength"], 8e-12),
        )  # fmt: skip
        lump = sphere((15.3e-3, 11.2e-3, 5.1e-3), p["lump radius"])
        scene = _scene(("matter", lump, matter), ("lower", post(2, 5), METAL), ("upper", post(6, 10.4), METAL))
        media = cut_scene_media(scene, grid, dt=dt, dtype=how.dtype, cross_terms=False)
        circuit = Circuit(resistance=p["R"], inductance=p["L"], capacitance=p["C"])
        x, y = 11 * cell, 10 * cell
        media = LumpedElement(start=(x, y, 5 * cell), stop=(x, y, 6 * cell), axis=2, circuit=circuit).place(grid, media)
        port = VoltagePort(
            start=(x, y, 0.0), stop=(x, y, 2 * cell), axis=2, resistance=p["port R"], inductance=p["port L"],
            capacitance=p["port C"], waveform=pulse,
        )  # fmt: skip
        media, source, probe = port.place(grid, media, dt=dt, n_steps=n_steps)
        step = yee_step(
            grid, media, absorber=absorbing_layers(grid), sources=[source], probes=[probe], engine=how.engine
        )
        last, _ = rollout(step, step.start(n_steps), n_steps=n_steps, dt=dt, adjoint=how.adjoint)
        at = torch.tensor([9e9], dtype=torch.float64)
        return {"|S11|": port.reflection(last.records[0], dt, at).abs()[0]}

    values = {
        "post radius": 1.37e-3, "post x": 11.21e-3, "lump radius": 2.37e-3, "permittivity": 2.5, "conductivity": 0.3,
        "Debye strength": 4.0, "R": 12.0, "L": 0.7e-9, "C": 0.4e-12, "port R": 40.0, "port L": 0.5e-9, "port C": 2e-12,
    }  # fmt: skip
    return Case(name="loaded monopole", values=values, objectives=("|S11|",), evaluate=evaluate, cells=grid.n_cells)


def antenna() -> Case:
    """Gain of a dipole of two arms with a post behind it and a resonant lump before it, against the accepted power."""
    cell, n_steps, frequency = 2e-3, 260, 9e9
    grid = _grid((23, 20, 22), cell)
    dt, pulse = COURANT * grid.courant_limit(), GaussianDerivative(frequency_max=14e9)
    surface = Surface(grid=grid, low=(5, 5, 5), high=(18, 15, 17))
    monitors = Monitors(boxes=surface.boxes, frequencies=(frequency,), every=2)
    start, stop = (11 * cell, 10 * cell, 10 * cell), (11 * cell, 10 * cell, 11 * cell)

    def evaluate(p: Values, how: How) -> dict[str, Tensor]:
        def rod(x: Any, low: Any, high: Any, radius: Any) -> Any:
            return cylinder(_point(x, 20.34e-3, low), _point(x, 20.34e-3, high), radius)

        matter = Material(
            name="matter", relative_permittivity=2.2, conductivity=p["conductivity"],
            poles=lorentz(p["Lorentz strength"], p["Lorentz frequency"], 2e10),
        )  # fmt: skip
        scene = _scene(
            ("matter", sphere(_point(p["lump x"], 20.7e-3, 20.4e-3), p["lump radius"]), matter),
            ("post", rod(14.3e-3, 12.7e-3, p["post top"], p["post radius"]), METAL),
            ("lower", rod(22.2e-3, 14.6e-3, start[2], p["arm radius"]), METAL),
            ("upper", rod(22.2e-3, stop[2], p["arm top"], p["arm radius"]), METAL),
        )
        media = cut_scene_media(scene, grid, dt=dt, dtype=how.dtype, cross_terms=False)
        port = LumpedPort(port=VoltagePort(start=start, stop=stop, axis=2, resistance=50.0, waveform=pulse))
        placed = port.place(grid, media, dt)
        step = yee_step(
            grid, placed.media, absorber=absorbing_layers(grid), sources=placed.sources, probes=[placed.probes],
            monitors=monitors, engine=how.engine,
        )  # fmt: skip
        last, _ = rollout(step, step.start(n_steps), n_steps=n_steps, dt=dt, adjoint=how.adjoint)
        theta, phi = torch.tensor([1.4], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
        field = far_field(surface, monitors.unpack(last.spectra), (frequency,), dt, theta, phi)
        at = torch.tensor([frequency], dtype=torch.float64)
        a, b = placed.waves(last.records, dt, at, driven=True)
        return {"gain": field.gain(a.abs() ** 2 - b.abs() ** 2)[0, 0]}

    values = {
        "arm radius": 1.37e-3, "arm top": 27.7e-3, "post radius": 1.4e-3, "post top": 29.3e-3, "lump radius": 3.83e-3,
        "lump x": 29.3e-3, "conductivity": 0.05, "Lorentz strength": 1.5, "Lorentz frequency": 12e9,
    }  # fmt: skip
    return Case(name="dipole antenna", values=values, objectives=("gain",), evaluate=evaluate, cells=grid.n_cells)


def _illuminated(grid: Grid, media: Any, boxes: tuple[Box, ...], wave: dict[str, Any], run: Any) -> list[Tensor]:
    """Spectra in boxes of a run with a plane wave along z with E along x."""
    frequency, n_steps, dt, how = run
    side = grid.shape[0] // 2 - LAYERS - 2
    low, high = ((grid.shape[0] // 2 + sign * side,) * 3 for sign in (-1, 1))
    sources = total_field_sources(
        grid, dt, n_steps, low=low, high=high, direction=(0, 0, 1), polarisation=(1, 0, 0), **wave
    )
    monitors = Monitors(boxes=boxes, frequencies=(frequency,), every=2)
    step = yee_step(grid, media, absorber=absorbing_layers(grid), sources=sources, monitors=monitors, engine=how.engine)
    last, _ = rollout(step, step.start(), n_steps=n_steps, dt=dt, adjoint=how.adjoint)
    return monitors.unpack(last.spectra)


def coated_sphere() -> Case:
    """Monostatic radar cross-section of a metal sphere in a resonant, lossy coat."""
    cell, n_steps, frequency = 2e-3, 260, 7e9
    grid = _grid((22, 22, 22), cell)
    dt, pulse = COURANT * grid.courant_limit(), GaussianDerivative(frequency_max=12e9)
    surface = Surface(grid=grid, low=(5, 5, 5), high=(17, 17, 17))

    def evaluate(p: Values, how: How) -> dict[str, Tensor]:
        coat = Material(
            name="coat", relative_permittivity=p["permittivity"], conductivity=p["conductivity"],
            poles=lorentz(p["Lorentz strength"], 10e9, p["Lorentz damping"]),
        )  # fmt: skip
        scene = _scene(
            ("coat", sphere((22.2e-3, 21.7e-3, 22.3e-3), p["coat radius"]), coat),
            ("core", sphere(_point(22.4e-3, 22.1e-3, p["core z"]), p["core radius"]), METAL),
        )
        media = cut_scene_media(scene, grid, dt=dt, dtype=how.dtype, cross_terms=False)
        spectra = _illuminated(grid, media, surface.boxes, {"waveform": pulse}, (frequency, n_steps, dt, how))
        theta, phi = torch.tensor([math.pi], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        field = far_field(surface, spectra, (frequency,), dt, theta, phi)
        section = radar_cross_section(field, incident_spectrum(pulse, dt, n_steps, (frequency,)))
        return {"RCS": 10.0 * section[0, 0].log10()}

    values = {
        "core radius": 5.7e-3, "core z": 21.6e-3, "coat radius": 8.63e-3, "permittivity": 2.4, "conductivity": 0.1,
        "Lorentz strength": 1.3, "Lorentz damping": 3e10,
    }  # fmt: skip
    return Case(name="coated sphere", values=values, objectives=("RCS",), evaluate=evaluate, cells=grid.n_cells)


def tissue() -> Case:
    """Rates in a sphere of tissue: in one cell, and the mean over a cube of 1 g that is held where it lies."""
    cell, n_steps, frequency = 2e-3, 280, 4e9
    grid = _grid((22, 22, 22), cell)
    dt = COURANT * grid.courant_limit()
    box = Box(low=(6, 6, 6), high=(17, 17, 17))
    nodes = tuple(grid.nodes(axis)[6:17] for axis in range(3))

    @functools.cache
    def cube() -> tuple[Tensor, Tensor]:
        rate, density = rates(numbers(values), How())
        average = mass_average(rate, density, nodes, mass=1e-3)
        best = (average.rate * average.centred).argmax()
        at = torch.stack(torch.unravel_index(best, average.rate.shape))
        middle = torch.stack([0.5 * (line[k] + line[k + 1]) for line, k in zip(nodes, at.tolist(), strict=True)])
        half = 0.5 * average.side[tuple(at)]
        return (middle - half)[None], (middle + half)[None]

    def rates(p: Values, how: How) -> tuple[Tensor, Tensor]:
        """In the cells of the box [W s^2/kg], and their density."""
        flesh = Material(
            name="flesh", relative_permittivity=p["permittivity"], conductivity=p["conductivity"],
            poles=debye(p["Debye strength"], p["relaxation time"]),
        )  # fmt: skip
        scene = _scene(("flesh", sphere((21.8e-3, 22.3e-3, 22.1e-3), p["radius"]), flesh))
        media = scene_media(scene, grid, dtype=how.dtype, cross_terms=False)
        pulse = GaussianDerivative(frequency_max=p["frequency_max"])
        wave = {"waveform": pulse, "amplitude": p["amplitude"]}
        spectra = _illuminated(grid, media, (box,), wave, (frequency, n_steps, dt, how))
        cells = scene.cell_materials(grid).conductivity[6:16, 6:16, 6:16]
        density = 1000.0 * cells / p["conductivity"]
        return point_rate(grid, media, box, spectra[0].to(torch.complex128), cells, density, frequencies=(frequency,))[
            0
        ], density

    def evaluate(p: Values, how: How) -> dict[str, Tensor]:
        low, high = cube()
        rate, density = rates(p, how)
        scale = 1e24  # to [W ps^2/kg]
        return {
            "SAR in a cell": scale * rate[4, 6, 3],
            "SAR of 1 g": scale * cube_average(rate, density, nodes, low, high)[0],
        }

    values = {
        "radius": 8.64e-3, "permittivity": 9.0, "conductivity": 1.2, "Debye strength": 8.0, "relaxation time": 9e-12,
        "amplitude": 1.3, "frequency_max": 9e9,
    }  # fmt: skip
    return Case(
        name="tissue sphere", values=values, objectives=("SAR in a cell", "SAR of 1 g"), evaluate=evaluate,
        cells=grid.n_cells,
    )  # fmt: skip


def trace() -> Case:
    """Energy of a field within a window of time, beside a metal ball: what a source's own numbers do."""
    cell, n_steps = 2e-3, 220
    grid = _grid((19, 18, 18), cell)
    dt = COURANT * grid.courant_limit()

    def evaluate(p: Values, how: How) -> dict[str, Tensor]:
        scene = _scene(("ball", sphere((22.3e-3, 16.6e-3, 19.2e-3), p["ball radius"]), METAL))
        media = cut_scene_media(scene, grid, dt=dt, dtype=how.dtype, cross_terms=False)
        pulse = ModulatedGaussian(frequency=p["frequency"], bandwidth=p["bandwidth"], later=p["delay"])
        source = dipole(grid, 2, (6, 8, 9), pulse)
        source = tree.replace(source, amplitude=source.amplitude * p["current"])
        step = yee_step(
            grid, media, absorber=absorbing_layers(grid), sources=[source], probes=[point_probe(2, (10, 12, 8))],
            engine=how.engine,
        )  # fmt: skip
        last, _ = rollout(step, step.start(n_steps), n_steps=n_steps, dt=dt, adjoint=how.adjoint)
        t = dt * (1.0 + torch.arange(n_steps, dtype=torch.float64))
        window = torch.exp(-(((t - 0.55e-9) / 0.1e-9) ** 2))
        return {"trace": 1e-6 * (window * last.records[0].to(torch.float64) ** 2).sum()}

    values = {"ball radius": 3.83e-3, "current": 0.8, "frequency": 7e9, "bandwidth": 8e9, "delay": 0.05e-9}
    return Case(name="dipole and ball", values=values, objectives=("trace",), evaluate=evaluate, cells=grid.n_cells)


def numbers(values: Mapping[str, float], *, grad: bool = False) -> dict[str, Tensor]:
    """Returns the values as tensors, leaves of a graph if asked."""
    return {name: torch.tensor(value, dtype=torch.float64, requires_grad=grad) for name, value in values.items()}


CASES = (monopole, antenna, coated_sphere, tissue, trace)
