"""From a structure and a force field to a system and its topology."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy
import torch

from sponge.builders.assembly import assemble, sorted_pairs
from sponge.builders.biomolecules.assignment import assign
from sponge.builders.biomolecules.covalent import covalent_terms
from sponge.builders.biomolecules.definitions import ForceFieldFiles, read_force_field
from sponge.builders.biomolecules.neighborhood import neighborhood
from sponge.builders.biomolecules.nonbonded import nonbonded_terms
from sponge.builders.biomolecules.pdb import read_structure
from sponge.builders.biomolecules.structure import Structure
from sponge.builders.coordinates import Coordinates
from sponge.builders.rigidity import Constraints
from sponge.forcefield.sites import place_virtual_sites
from sponge.system import System
from sponge.topology import Topology


def from_pdb(
    path: Path | str,
    force_field: Sequence[Path | str] | Path | str | ForceFieldFiles,
    *,
    templates: Mapping[str, str] | None = None,
    rigid_water: bool = True,
    constraints: Constraints = None,
    periodic: bool = True,
    dtype: torch.dtype = torch.float64,
) -> tuple[System, Topology]:
    """Returns the system and topology of a PDB or mmCIF file by a force field of XML files in OpenMM's form.

    The structure must be whole, hydrogens included; `read_structure`, `add_hydrogens`, `solvate` and `parametrise` are
    the same by steps. See `parametrise` for the rest.
    """
    structure = read_structure(path)
    return parametrise(
        structure,
        force_field,
        templates=templates,
        rigid_water=rigid_water,
        constraints=constraints,
        periodic=periodic,
        dtype=dtype,
    )


def parametrise(
    structure: Structure,
    force_field: Sequence[Path | str] | Path | str | ForceFieldFiles,
    *,
    templates: Mapping[str, str] | None = None,
    rigid_water: bool = True,
    constraints: Constraints = None,
    periodic: bool = True,
    dtype: torch.dtype = torch.float64,
) -> tuple[System, Topology]:
    """Returns the system and topology of a structure.

    Each residue is the template with the same elements and bonds, whatever its atoms are called; `templates` names
    those that leave a choice, by chain and number ("A:12", or "12"). Virtual sites of templates are added. `periodic`
    False leaves the cell out; `rigid_water` and `constraints` are those of `from_amber`. Raises InputError naming the
    residue without a template, or the atoms without a charge, bond or angle in the force field.
    """
    files = force_field if isinstance(force_field, ForceFieldFiles) else read_force_field(force_field)
    found = assign(structure, files, templates)
    whole = found.structure
    around = neighborhood(whole.bonds, whole.n_atoms)
    nonbonded, pairs14 = nonbonded_terms(found, around.near, files.parameters)
    links = numpy.array(sorted(found.parent.items()), dtype=numpy.int64).reshape(-1, 2)
    topology = Topology(
        n_atoms=whole.n_atoms,
        nonbonded=nonbonded,
        pairs14=pairs14,
        virtual_sites=found.sites,
        connectivity=sorted_pairs(numpy.concatenate([whole.bonds, links]), whole.n_atoms),
        atom_names=whole.atom_names,
        residues=whole.residues,
        residue_of_atom=torch.from_numpy(whole.residue_of_atom),
        **covalent_terms(found, around, files.parameters),
    )
    system, topology = assemble(
        Coordinates(positions=whole.positions, cell=whole.cell if periodic else None),
        topology,
        atomic_numbers=torch.from_numpy(whole.atomic_numbers),
        masses=torch.from_numpy(found.masses),
        rigid_water=rigid_water,
        constraints=constraints,
        dtype=dtype,
    )
    return place_virtual_sites(system, topology.virtual_sites), topology
