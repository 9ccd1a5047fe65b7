"""Amber's topology and coordinates, also those that chamber makes of CHARMM's: one system and its force field.

    E = k (r - r0)^2 + k (theta - theta0)^2 + k (1 + cos(n phi - phase)) + A / r^12 - B / r^6 + q q / r

in kcal/mol and angstrom [Case2023]. The file's charges carry a factor of 18.2223, the square root of Amber's
Coulomb constant, 3.5e-5 below CODATA's: here they are charges again, and Coulomb's constant is that of nature.
"""

from __future__ import annotations

from pathlib import Path

import numpy
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from mindsci.units import KCAL_PER_MOL_EV
from sponge.builders.amber_sites import is_site, virtual_sites
from sponge.builders.assembly import assemble, sorted_pairs
from sponge.builders.coordinates import Coordinates, cell_of_box, read_coordinates
from sponge.builders.prmtop import Prmtop, read_prmtop
from sponge.builders.rigidity import Constraints
from sponge.system import System
from sponge.topology import (
    GeneralisedBorn,
    HarmonicAngles,
    HarmonicBonds,
    HarmonicImpropers,
    Nonbonded,
    PeriodicTorsions,
    Residue,
    ScaledPairs,
    Topology,
    TorsionMaps,
)

CHARGE = 18.2223
SCALE_COULOMB, SCALE_LENNARD_JONES = 1.2, 2.0
"""Divisors of 1-4 interactions in files older than SCEE_SCALE_FACTOR and SCNB_SCALE_FACTOR"""


def from_amber(
    prmtop: Path | str,
    coordinates: Path | str,
    *,
    rigid_water: bool = True,
    constraints: Constraints = None,
    cell: Float[Tensor, "3 3"] | None = None,
    periodic: bool = True,
    dtype: torch.dtype = torch.float64,
) -> tuple[System, Topology]:
    """Returns the system and topology of an Amber prmtop (parm7) and inpcrd or rst7, text or NetCDF, or CHARMM CRD.

    `constraints` "hydrogens" or "all" holds those bonds at their lengths, `rigid_water` each water. The cell is
    `cell` (row vectors [angstrom]), or that of the coordinates, or the prmtop's; `periodic` False leaves it out.
    Parameters are float64; `dtype` is that of the system. Raises StorageError for a missing file, InputError for
    what cannot be read or is of a force field that has no counterpart here.
    """
    read = read_prmtop(prmtop)
    _refuse_unknown(read)
    found = read_coordinates(coordinates, with_cell=periodic and cell is None)
    box = None
    if periodic and cell is None and read.pointers["box"] > 0:
        box = found.cell if found.cell is not None else _stored_box(read)
    if cell is not None:
        box = cell.detach().cpu().double().numpy()
    names = _names(read)
    numbers = _elements(read)
    topology = names
    sites = virtual_sites(read, numbers, names)
    topology = tree.replace(
        names,
        nonbonded=_nonbonded(read, sites.exclusions),
        bonds=_bonds(read, sites.site_of),
        angles=_angles(read),
        urey_bradley=_urey_bradley(read),
        torsions=_torsions(read, improper=False),
        impropers=_torsions(read, improper=True),
        harmonic_impropers=_harmonic_impropers(read),
        torsion_maps=_torsion_maps(read),
        pairs14=_pairs14(read),
        generalised_born=_generalised_born(read),
        virtual_sites=sites.record,
        connectivity=_connectivity(read, numbers, sites.links),
    )
    masses = numpy.where(numbers == 0, 0.0, read["MASS"])
    return assemble(
        Coordinates(positions=found.positions, velocities=found.velocities, cell=box),
        topology,
        atomic_numbers=torch.from_numpy(numbers),
        masses=torch.from_numpy(masses),
        rigid_water=rigid_water,
        constraints=constraints,
        dtype=dtype,
    )


def _refuse_unknown(prmtop: Prmtop) -> None:
    refused = {
        "a polarisable force field (IPOL)": bool((prmtop.get("IPOL") if prmtop.get("IPOL") is not None else 0) > 0),
        "12-6-4 ion terms (LENNARD_JONES_CCOEF)": prmtop.get("LENNARD_JONES_CCOEF") is not None,
        "AMOEBA": any(flag.startswith("AMOEBA") for flag in prmtop.sections),
        "perturbed atoms": prmtop.pointers["perturbed"] > 0,
    }
    for what, found in refused.items():
        if found:
            raise InputError(f"'{prmtop.path}' holds {what}, which is not known here; use a fixed-charge force field")
    for flag in ("HBOND_ACOEF", "HBOND_BCOEF"):
        values = prmtop.get(flag)
        if values is not None and (values != 0).any():
            raise InputError(
                f"'{prmtop.path}' holds 10-12 hydrogen bonds ({flag}); use a force field of 12-6 potentials"
            )


def _stored_box(prmtop: Prmtop) -> NDArray[numpy.float64]:
    box = prmtop.get("BOX_DIMENSIONS")
    if box is None or len(box) < 4:
        raise InputError(f"'{prmtop.path}' is periodic, but no file holds its box; give `cell` or periodic=False")
    # Only beta is stored; truncated octahedra have three equal angles.
    angle = box[0] if prmtop.pointers["box"] == 2 or abs(box[0] - 109.4712) < 0.01 else None
    angles = numpy.full(3, box[0]) if angle is not None else numpy.array([90.0, box[0], 90.0])
    return cell_of_box(box[1:4], angles, prmtop.path)


def _names(prmtop: Prmtop) -> Topology:
    n_atoms = prmtop.pointers["atoms"]
    starts = numpy.append(prmtop["RESIDUE_POINTER"] - 1, n_atoms)
    count = len(starts) - 1
    numbers = prmtop.get("RESIDUE_NUMBER")
    chains = prmtop.get("RESIDUE_CHAINID")
    chains = chains if chains is not None and len(chains) == count else [""] * count
    numbers = numbers if numbers is not None and len(numbers) == count else numpy.arange(1, count + 1)
    residues = tuple(
        Residue(name=str(name), number=str(number), chain=str(chain))
        for name, number, chain in zip(prmtop["RESIDUE_LABEL"], numbers, chains, strict=True)
    )
    return Topology(
        n_atoms=n_atoms,
        atom_names=tuple(str(name) for name in prmtop["ATOM_NAME"][:n_atoms]),
        residues=residues,
        residue_of_atom=torch.from_numpy(numpy.repeat(numpy.arange(count), numpy.diff(starts))),
    )


def _elements(prmtop: Prmtop) -> NDArray[numpy.int64]:
    """Atomic numbers; older files have masses and names only."""
    from ase.data import atomic_masses

    numbers = prmtop.get("ATOMIC_NUMBER")
    if numbers is None:
        masses = numpy.where(is_site(prmtop), 0.0, prmtop["MASS"])
        bonds, _ = _terms(prmtop, "BONDS", 3)
        ends = numpy.concatenate([bonds, bonds[:, ::-1]]) // 3
        # Hydrogens may be heavy, at the cost of the atom that holds them: only helium is as light, and it has no bond.
        ends = ends[(masses[ends[:, 0]] < 4.5) & (masses[ends[:, 1]] > 4.5) & (masses[ends[:, 0]] > 0)]
        numpy.add.at(masses, ends[:, 1], masses[ends[:, 0]] - atomic_masses[1])
        masses[ends[:, 0]] = atomic_masses[1]
        numbers = numpy.abs(masses[:, None] - atomic_masses[None, 1:104]).argmin(1) + 1
    return numpy.where(is_site(prmtop), 0, numpy.maximum(numbers, 0)).astype(numpy.int64)


def _terms(prmtop: Prmtop, name: str, width: int) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """Atoms (stored as 3 (number - 1), signs kept out) and the index of the kind, from 0."""
    rows = numpy.concatenate(
        [prmtop.rows(f"{name}_INC_HYDROGEN", width), prmtop.rows(f"{name}_WITHOUT_HYDROGEN", width)]
    )
    return rows[:, :-1], rows[:, -1] - 1


def _atoms(rows: NDArray[numpy.int64]) -> Tensor:
    return torch.from_numpy(numpy.abs(rows) // 3)


def _float(values: NDArray[numpy.float64]) -> Tensor:
    return torch.from_numpy(numpy.ascontiguousarray(values, dtype=numpy.float64))


def _bonds(prmtop: Prmtop, site_of: NDArray[numpy.int64]) -> HarmonicBonds | None:
    rows, kind = _terms(prmtop, "BONDS", 3)
    real = ~(site_of[numpy.abs(rows) // 3] >= 0).any(1)
    rows, kind = rows[real], kind[real]
    if not len(rows):
        return None
    return HarmonicBonds(
        atoms=_atoms(rows),
        length=_float(prmtop["BOND_EQUIL_VALUE"][kind]),
        stiffness=_float(2.0 * KCAL_PER_MOL_EV * prmtop["BOND_FORCE_CONSTANT"][kind]),
    )


def _angles(prmtop: Prmtop) -> HarmonicAngles | None:
    rows, kind = _terms(prmtop, "ANGLES", 4)
    if not len(rows):
        return None
    return HarmonicAngles(
        atoms=_atoms(rows),
        angle=_float(prmtop["ANGLE_EQUIL_VALUE"][kind]),
        stiffness=_float(2.0 * KCAL_PER_MOL_EV * prmtop["ANGLE_FORCE_CONSTANT"][kind]),
    )


def _urey_bradley(prmtop: Prmtop) -> HarmonicBonds | None:
    rows = prmtop.rows("CHARMM_UREY_BRADLEY", 3)
    if not len(rows):
        return None
    kind = rows[:, 2] - 1
    return HarmonicBonds(
        atoms=torch.from_numpy(rows[:, :2] - 1),
        length=_float(prmtop["CHARMM_UREY_BRADLEY_EQUIL_VALUE"][kind]),
        stiffness=_float(2.0 * KCAL_PER_MOL_EV * prmtop["CHARMM_UREY_BRADLEY_FORCE_CONSTANT"][kind]),
    )


def _torsions(prmtop: Prmtop, *, improper: bool) -> PeriodicTorsions | None:
    """A fourth atom with a minus sign marks an improper, a third one a dihedral without its 1-4 pair."""
    rows, kind = _terms(prmtop, "DIHEDRALS", 5)
    chosen = (rows[:, 3] < 0) == improper
    rows, kind = rows[chosen], kind[chosen]
    if not len(rows):
        return None
    return PeriodicTorsions(
        atoms=_atoms(rows),
        periodicity=torch.from_numpy(numpy.abs(prmtop["DIHEDRAL_PERIODICITY"][kind]).round().astype(numpy.int64)),
        phase=_float(prmtop["DIHEDRAL_PHASE"][kind]),
        barrier=_float(KCAL_PER_MOL_EV * prmtop["DIHEDRAL_FORCE_CONSTANT"][kind]),
    )


def _harmonic_impropers(prmtop: Prmtop) -> HarmonicImpropers | None:
    rows = prmtop.rows("CHARMM_IMPROPERS", 5)
    if not len(rows):
        return None
    kind = rows[:, 4] - 1
    phase = prmtop["CHARMM_IMPROPER_PHASE"][kind]
    # In radian, but some writers hold to degrees, as the comment in the file says; no radian exceeds 2 pi.
    phase = numpy.where(numpy.abs(phase) > 2 * numpy.pi, numpy.radians(phase), phase)
    return HarmonicImpropers(
        atoms=torch.from_numpy(rows[:, :4] - 1),
        angle=_float(phase),
        stiffness=_float(2.0 * KCAL_PER_MOL_EV * prmtop["CHARMM_IMPROPER_FORCE_CONSTANT"][kind]),
    )


def _torsion_maps(prmtop: Prmtop) -> TorsionMaps | None:
    prefix = "CHARMM_CMAP" if prmtop.get("CHARMM_CMAP_INDEX") is not None else "CMAP"
    rows = prmtop.rows(f"{prefix}_INDEX", 6)
    if not len(rows):
        return None
    grids = []
    for number, size in enumerate(prmtop[f"{prefix}_RESOLUTION"], 1):
        table = prmtop[f"{prefix}_PARAMETER_{number:02d}"].reshape(size, size)
        # The file's axes start at -180 degrees, the second one runs fastest.
        grids.append(_float(KCAL_PER_MOL_EV * numpy.roll(table, (-(size // 2), -(size // 2)), axis=(0, 1))))
    atoms = rows[:, [0, 1, 2, 3, 1, 2, 3, 4]] - 1
    return TorsionMaps(atoms=torch.from_numpy(atoms), table=torch.from_numpy(rows[:, 5] - 1), grids=grids)


def _lennard_jones(
    repulsion: NDArray[numpy.float64], dispersion: NDArray[numpy.float64], prmtop: Prmtop
) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Returns sigma [angstrom] and epsilon [eV] of A / r^12 - B / r^6."""
    active = (repulsion > 0) & (dispersion > 0)
    if ((repulsion != 0) != (dispersion != 0)).any() or (repulsion < 0).any():
        raise InputError(f"'{prmtop.path}': a pair has A or B without the other; this is no 12-6 potential")
    a, b = numpy.where(active, repulsion, 1.0), numpy.where(active, dispersion, 1.0)
    epsilon = numpy.where(active, KCAL_PER_MOL_EV * b * b / (4.0 * a), 0.0)
    return (a / b) ** (1 / 6), epsilon


def _pair_index(prmtop: Prmtop) -> NDArray[numpy.int64]:
    """Where the coefficients of each pair of kinds stand; pairs of 10-12 potentials, all zero, are -1."""
    size = prmtop.pointers["types"]
    return numpy.maximum(prmtop["NONBONDED_PARM_INDEX"].reshape(size, size), 0) - 1


def _coefficients(prmtop: Prmtop, prefix: str, index: NDArray[numpy.int64]) -> tuple[NDArray[numpy.float64], ...]:
    return tuple(numpy.where(index >= 0, prmtop[f"{prefix}_{letter}COEF"][index], 0.0) for letter in "AB")


def _nonbonded(prmtop: Prmtop, of_sites: NDArray[numpy.int64]) -> Nonbonded:
    n_atoms = prmtop.pointers["atoms"]
    sigma, epsilon = _lennard_jones(*_coefficients(prmtop, "LENNARD_JONES", _pair_index(prmtop)), prmtop)
    first = numpy.repeat(numpy.arange(n_atoms), prmtop["NUMBER_EXCLUDED_ATOMS"])
    second = prmtop["EXCLUDED_ATOMS_LIST"] - 1
    listed = numpy.stack([first, second], axis=1)[second >= 0]
    return Nonbonded(
        charges=_float(prmtop["CHARGE"] / CHARGE),
        kind=torch.from_numpy(prmtop["ATOM_TYPE_INDEX"] - 1),
        sigma=_float(sigma),
        epsilon=_float(epsilon),
        exclusions=sorted_pairs(numpy.concatenate([listed, of_sites]), n_atoms),
    )


def _pairs14(prmtop: Prmtop) -> ScaledPairs | None:
    rows, torsion = _terms(prmtop, "DIHEDRALS", 5)
    ends = (rows[:, 2] >= 0) & (rows[:, 3] >= 0)
    atoms, torsion = numpy.abs(rows[ends][:, [0, 3]]) // 3, torsion[ends]
    if not len(atoms):
        return None
    divisors = []
    for flag, default in (("SCEE_SCALE_FACTOR", SCALE_COULOMB), ("SCNB_SCALE_FACTOR", SCALE_LENNARD_JONES)):
        values = prmtop.get(flag)
        divisor = numpy.full(len(torsion), default) if values is None else values[torsion]
        # Zero switches the interaction off.
        divisors.append(numpy.where(divisor == 0, numpy.inf, divisor))
    kind = prmtop["ATOM_TYPE_INDEX"][atoms] - 1
    own = "LENNARD_JONES_14" if prmtop.get("LENNARD_JONES_14_ACOEF") is not None else "LENNARD_JONES"
    index = _pair_index(prmtop)[kind[:, 0], kind[:, 1]]
    sigma, epsilon = _lennard_jones(*_coefficients(prmtop, own, index), prmtop)
    charges = prmtop["CHARGE"][atoms] / CHARGE
    return ScaledPairs(
        atoms=torch.from_numpy(atoms),
        sigma=_float(sigma),
        epsilon=_float(epsilon / divisors[1]),
        charge_product=_float(charges[:, 0] * charges[:, 1] / divisors[0]),
    )


def _generalised_born(prmtop: Prmtop) -> GeneralisedBorn | None:
    radius, screening = prmtop.get("RADII"), prmtop.get("SCREEN")
    if radius is None or screening is None or not radius.any():
        return None
    return GeneralisedBorn(radius=_float(radius), screening=_float(screening))


def _connectivity(prmtop: Prmtop, numbers: NDArray[numpy.int64], links: NDArray[numpy.int64]) -> Tensor:
    """Covalent bonds and links of sites; the bond between a water's hydrogens is a device of rigid models."""
    rows, _ = _terms(prmtop, "BONDS", 3)
    atoms = numpy.abs(rows) // 3
    real = (numbers[atoms] != 0).all(1)
    residue = numpy.searchsorted(prmtop["RESIDUE_POINTER"] - 1, atoms[:, 0], side="right")
    hydrogens = (numbers[atoms] == 1).all(1)
    size = numpy.diff(numpy.append(prmtop["RESIDUE_POINTER"] - 1, len(numbers)))[residue - 1]
    device = hydrogens & (size > 2)
    return sorted_pairs(numpy.concatenate([atoms[real & ~device], links]), len(numbers))
