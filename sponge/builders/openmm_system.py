"""OpenMM's systems as it writes them (XmlSerializer), with a file of coordinates: one system and its force field.

nm, kJ/mol, dalton. The file holds numbers alone; whatever made them, a force field's own scripts too, has run before.
"""

from __future__ import annotations

import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from mindsci.errors import InputError, StorageError
from mindsci.units import KJ_PER_MOL_EV
from sponge.builders.assembly import assemble, sorted_pairs
from sponge.builders.coordinates import Coordinates
from sponge.system import System
from sponge.topology import (
    DistanceConstraints,
    HarmonicAngles,
    HarmonicBonds,
    Nonbonded,
    PeriodicTorsions,
    ScaledPairs,
    Topology,
    TorsionMaps,
    VirtualSites,
    lorentz_berthelot,
)

NANOMETRE = 10.0
"""[angstrom]"""
SKIPPED = ("CMMotionRemover",)


def from_openmm_system(
    path: Path | str,
    positions: NDArray[numpy.float64],
    *,
    cell: NDArray[numpy.float64] | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[System, Topology]:
    """Returns the system and topology of a serialized `openmm.System`; positions and cell (rows) in angstrom.

    Known: harmonic bonds and angles, periodic torsions, CMAP, the nonbonded force, constraints, sites linear in their
    parents. How pairs end is left to `sponge.forcefield.Options`. Elements are told by masses. Raises StorageError for
    a missing file, InputError for another force, by its name.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"the system file '{path}' does not exist; write it with openmm.XmlSerializer.serialize")
    try:
        root = xml.parse(path).getroot()
    except xml.ParseError as error:
        raise InputError(f"'{path}' is no XML ({error}); write it with openmm.XmlSerializer.serialize") from error
    particles = root.findall("Particles/Particle")
    masses = numpy.array([float(one.attrib["mass"]) for one in particles])
    parts: dict[str, Any] = {"virtual_sites": _sites(path, particles), "constraints": _constraints(root)}
    for force in root.findall("Forces/Force"):
        kind = force.attrib["type"]
        if kind in SKIPPED:
            continue
        if kind not in READERS:
            raise InputError(f"'{path}' has a {kind}, which is not known here; known are {', '.join(READERS)}")
        found = READERS[kind](force)
        twice = [name for name, value in found.items() if value is not None and parts.get(name) is not None]
        if twice:
            raise InputError(f"'{path}' has more than one {kind}; make one of them")
        parts |= found
    bonds, constraints = parts.get("bonds"), parts["constraints"]
    links = [one.atoms.numpy() for one in (bonds, constraints) if one is not None]
    pairs = numpy.concatenate([numpy.zeros((0, 2), dtype=numpy.int64), *links])
    topology = Topology(n_atoms=len(masses), connectivity=sorted_pairs(pairs, len(masses)), **parts)
    return assemble(
        Coordinates(positions=positions, cell=cell),
        topology,
        atomic_numbers=torch.from_numpy(_elements(masses)),
        masses=torch.from_numpy(masses),
        rigid_water=False,
        constraints=None,
        dtype=dtype,
    )


def _elements(masses: NDArray[numpy.float64]) -> NDArray[numpy.int64]:
    from ase.data import atomic_masses

    numbers = numpy.abs(masses[:, None] - atomic_masses[None, 1:104]).argmin(1) + 1
    return numpy.where(masses == 0.0, 0, numbers).astype(numpy.int64)


def _columns(rows: list[xml.Element], *names: str) -> list[Tensor]:
    return [torch.tensor([float(row.attrib[name]) for row in rows], dtype=torch.float64) for name in names]


def _atoms(rows: list[xml.Element], *names: str) -> Tensor:
    return torch.tensor([[int(row.attrib[name]) for name in names] for row in rows])


def _bonds(force: xml.Element) -> dict[str, Any]:
    rows = force.findall("Bonds/Bond")
    if not rows:
        return {"bonds": None}
    length, stiffness = _columns(rows, "d", "k")
    stiffness = KJ_PER_MOL_EV / NANOMETRE**2 * stiffness
    return {"bonds": HarmonicBonds(atoms=_atoms(rows, "p1", "p2"), length=NANOMETRE * length, stiffness=stiffness)}


def _angles(force: xml.Element) -> dict[str, Any]:
    rows = force.findall("Angles/Angle")
    if not rows:
        return {"angles": None}
    angle, stiffness = _columns(rows, "a", "k")
    atoms = _atoms(rows, "p1", "p2", "p3")
    return {"angles": HarmonicAngles(atoms=atoms, angle=angle, stiffness=KJ_PER_MOL_EV * stiffness)}


def _torsions(force: xml.Element) -> dict[str, Any]:
    rows = force.findall("Torsions/Torsion")
    if not rows:
        return {"torsions": None}
    phase, barrier = _columns(rows, "phase", "k")
    terms = PeriodicTorsions(
        atoms=_atoms(rows, "p1", "p2", "p3", "p4"),
        periodicity=_atoms(rows, "periodicity").flatten(),
        phase=phase,
        barrier=KJ_PER_MOL_EV * barrier,
    )
    return {"torsions": terms}


def _maps(force: xml.Element) -> dict[str, Any]:
    rows = force.findall("Torsions/Torsion")
    if not rows:
        return {"torsion_maps": None}
    grids = []
    for one in force.findall("Maps/Map"):
        size = int(one.attrib["size"])
        values = numpy.array([float(energy.attrib["e"]) for energy in one.findall("Energy")]).reshape(size, size)
        # The first angle runs fastest.
        grids.append(torch.from_numpy(KJ_PER_MOL_EV * values.T.copy()))
    names = [f"{letter}{number}" for letter in "ab" for number in range(1, 5)]
    return {"torsion_maps": TorsionMaps(atoms=_atoms(rows, *names), table=_atoms(rows, "map").flatten(), grids=grids)}


def _nonbonded(force: xml.Element) -> dict[str, Any]:
    """Pairs that are listed as exceptions are excluded, and stand on their own where anything is left of them."""
    rows = force.findall("Particles/Particle")
    charges, sigma, epsilon = _columns(rows, "q", "sig", "eps")
    # Where there is no depth, the size is without meaning: one kind.
    sigma = torch.where(epsilon == 0.0, 0.1, sigma)
    kinds, kind = torch.unique(torch.stack([sigma, epsilon], dim=1), dim=0, return_inverse=True)
    radii, depths = lorentz_berthelot(NANOMETRE * kinds[:, 0], KJ_PER_MOL_EV * kinds[:, 1])
    exceptions = force.findall("Exceptions/Exception")
    pairs = _atoms(exceptions, "p1", "p2").reshape(-1, 2)
    product, own_sigma, own_epsilon = _columns(exceptions, "q", "sig", "eps")
    kept = ((product != 0.0) | (own_epsilon != 0.0)).nonzero().flatten()
    scaled = ScaledPairs(
        atoms=pairs[kept],
        sigma=NANOMETRE * own_sigma[kept],
        epsilon=KJ_PER_MOL_EV * own_epsilon[kept],
        charge_product=product[kept],
    )
    exclusions = sorted_pairs(pairs.numpy(), len(rows))
    nonbonded = Nonbonded(charges=charges, kind=kind, sigma=radii, epsilon=depths, exclusions=exclusions)
    return {"nonbonded": nonbonded, "pairs14": scaled if len(kept) else None}


READERS = {
    "HarmonicBondForce": _bonds,
    "HarmonicAngleForce": _angles,
    "PeriodicTorsionForce": _torsions,
    "CMAPTorsionForce": _maps,
    "NonbondedForce": _nonbonded,
}


def _constraints(root: xml.Element) -> DistanceConstraints | None:
    rows = root.findall("Constraints/Constraint")
    if not rows:
        return None
    return DistanceConstraints(atoms=_atoms(rows, "p1", "p2"), length=NANOMETRE * _columns(rows, "d")[0])


def _sites(path: Path, particles: list[xml.Element]) -> VirtualSites | None:
    rows = []
    for number, particle in enumerate(particles):
        for site in particle:
            values = site.attrib
            if site.tag == "TwoParticleAverageSite":
                parents, weights, cross = (1, 2, 2), [float(values["w1"]), float(values["w2"]), 0.0], 0.0
            elif site.tag == "ThreeParticleAverageSite":
                parents, weights, cross = (1, 2, 3), [float(values[f"w{k}"]) for k in (1, 2, 3)], 0.0
            elif site.tag == "OutOfPlaneSite":
                b, c = float(values["w12"]), float(values["w13"])
                parents, weights, cross = (1, 2, 3), [1.0 - b - c, b, c], float(values["wc"]) / NANOMETRE
            else:
                raise InputError(f"'{path}': atom {number} is a {site.tag}, which is not linear in three parents")
            rows.append((number, [int(values[f"p{k}"]) for k in parents], weights, cross))
    if not rows:
        return None
    sites, parents_, weights_, crosses = zip(*rows, strict=True)
    return VirtualSites(
        site=torch.tensor(sites),
        parents=torch.tensor(parents_),
        weights=torch.tensor(weights_, dtype=torch.float64),
        cross=torch.tensor(crosses, dtype=torch.float64),
    )
