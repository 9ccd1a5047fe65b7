"""Coulomb's sum over a lattice: Madelung's constants, and particle mesh Ewald against a converged Ewald sum."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mindsci import tree, units
from mindsci.report import Row
from sponge import system as systems
from sponge.builders import from_amber
from sponge.forcefield import ForceField, Options
from sponge.neighbors import neighbor_list
from sponge.potentials.potential import Evaluation, differentiate
from sponge.system import System
from sponge.topology import Nonbonded, Topology
from sponge.validation import nist
from sponge.validation.rows import below, lacking, relative

MADELUNG = {"NaCl": 1.747564594633, "CsCl": 1.762674773071, "zincblende": 1.638055053389}
"""per pair of ions, on the distance of nearest neighbours"""
CUTOFF = 9.0
"""of the water boxes [angstrom]"""
FACES = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))


def crystal(name: str, distance: float = 2.8) -> tuple[System, Topology]:
    """Returns a crystal of unit charges, nearest neighbours so far apart [angstrom], 2 cubes along each axis."""
    shift = {"NaCl": (0.5, 0.5, 0.5), "CsCl": (0.5, 0.5, 0.5), "zincblende": (0.25, 0.25, 0.25)}[name]
    first = torch.tensor([[0.0, 0.0, 0.0]] if name == "CsCl" else FACES).double()
    cube = torch.cat([first, first + torch.tensor(shift).double()])
    signs = torch.cat([torch.ones(len(first)), -torch.ones(len(first))]).double()
    side = distance * {"NaCl": 2.0, "CsCl": 2.0 / 3.0**0.5, "zincblende": 4.0 / 3.0**0.5}[name]
    copies = torch.cartesian_prod(*[torch.arange(2.0).double()] * 3)
    positions = side * (copies[:, None] + cube[None]).reshape(-1, 3)
    charges = signs.repeat(len(copies))
    cell = 2.0 * side * torch.eye(3).double()[None]
    system = systems.create(positions, torch.full((len(charges),), 11), cell=cell, periodic=(True,) * 3)
    return system, charges_alone(charges, torch.zeros((0, 2), dtype=torch.int64))


def charges_alone(charges: Tensor, exclusions: Tensor) -> Topology:
    """Returns the topology of atoms that have charges and nothing else."""
    zero = torch.zeros((1, 1), dtype=torch.float64)
    kind = torch.zeros(len(charges), dtype=torch.int64)
    nonbonded = Nonbonded(charges=charges, kind=kind, sigma=zero + 1.0, epsilon=zero, exclusions=exclusions)
    return Topology(n_atoms=len(charges), nonbonded=nonbonded)


def lattices(data: Path | None) -> list[Row]:
    """Returns the rows of the crystals, and of two waters with forces to 1e-4 and 1e-6."""
    return [*_crystals(), *_nist_waters(data), *_water_box(data)]


def _evaluate(system: System, topology: Topology, options: Options) -> Evaluation:
    neighbors = neighbor_list(system, options.cutoff, half=True)
    return differentiate(ForceField(topology, options), system, neighbors, virial=True)


def _crystals() -> list[Row]:
    rows = []
    for name, reference in MADELUNG.items():
        system, topology = crystal(name)
        for way, tolerance, cutoff, gate in (("ewald", 1e-13, 14.0, 1e-8), ("pme", 1e-6, 9.0, 1e-6)):
            found = _evaluate(system, topology, Options(cutoff=cutoff, coulomb=way, tolerance=tolerance))
            pairs = system.n_atoms / 2
            constant = -float(found.energy) * 2.8 / units.COULOMB_EV_ANGSTROM / pairs
            largest = float(found.forces.abs().max())
            case = f"Madelung constant of {name}, {way}"
            rows.append(relative(case, constant, reference, gate, **{"largest force [eV/angstrom]": largest}))
    return rows


def _nist_waters(data: Path | None) -> list[Row]:
    """What does not depend on the method once it has converged: waves, self energy and excluded pairs together."""
    names = [f"nist_reference/spce_sample_config_periodic{number}.txt" for number in nist.WATER]
    absent = lacking("PME of NIST's waters", data, *names)
    if absent is not None or data is None:
        return [] if absent is None else [absent]
    rows = []
    for number in nist.WATER:
        system, topology = nist.water(data / "nist_reference", number)
        sums = []
        for way in ("ewald", "pme"):
            options = tree.replace(nist.water_options(), coulomb=way, ewald_reach=6.0, spline_order=6, grid=(64,) * 3)
            found = nist.energies(system, topology, options)
            sums.append(sum(found[f"coulomb_{part}"] for part in ("reciprocal", "self", "excluded")) / nist.BOLTZMANN)
        case = f"NIST SPC/E {number}: waves, self and excluded by PME against converged Ewald"
        rows.append(relative(case, sums[1], sums[0], 1e-5, "K"))
    return rows


def _water_box(data: Path | None) -> list[Row]:
    case = "PME of 216 waters against converged Ewald"
    prmtop, restart = "openmmtools/watbox216.prmtop", "openmmtools/watbox216.crd"
    absent = lacking(case, data, prmtop, restart)
    if absent is not None or data is None:
        return [] if absent is None else [absent]
    system, whole = from_amber(data / prmtop, data / restart, cell=18.77 * torch.eye(3).double())
    assert whole.nonbonded is not None
    topology = charges_alone(whole.nonbonded.charges, whole.nonbonded.exclusions)
    exact = _evaluate(system, topology, Options(cutoff=CUTOFF, coulomb="ewald", tolerance=1e-9))
    rms = exact.forces.square().mean().sqrt()
    assert exact.virial is not None
    rows = []
    for name, options in (("default", Options(coulomb="pme")), ("tight", Options(coulomb="pme", tolerance=1e-6))):
        found = _evaluate(system, topology, options)
        assert found.virial is not None
        error = float((found.forces - exact.forces).square().mean().sqrt() / rms)
        extra = {
            "largest error of a component": float((found.forces - exact.forces).abs().max() / rms),
            "of the energy": abs(float(found.energy / exact.energy) - 1.0),
            "of the virial": float((found.virial - exact.virial).abs().max() / exact.virial.abs().max()),
        }
        rows.append(below(f"{case}, {name}: forces", error, options.tolerance, "rms over rms", **extra))
    return rows
