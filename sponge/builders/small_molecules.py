"""Small molecules: structures by SMILES and in SDF or mol2, parameters by the topology of another program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy
import torch
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError, StorageError
from sponge.builders.biomolecules.matching import Graph, same_graph
from sponge.builders.biomolecules.structure import Structure
from sponge.builders.joining import join_topologies
from sponge.system import System, create
from sponge.topology import Residue, Topology

READERS = (".sdf", ".mol", ".mol2")


def read_molecule(source: Path | str, *, name: str = "LIG", seed: int = 0) -> Structure:
    """Returns one molecule of an SDF, mol or mol2 file, or of a SMILES string, as a residue of one name.

    Hydrogens that a file lacks are added; a SMILES string is given a shape by ETKDG [Riniker2015] from `seed`. Bonds
    are those of the file, whatever the distances. Raises StorageError for a missing file, InputError for what RDKit
    cannot read.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import AllChem

    path = Path(source)
    with rdBase.BlockLogs():  # RDKit reports on stderr what the errors below say
        if path.suffix.lower() in READERS:
            if not path.is_file():
                raise StorageError(
                    f"the structure file '{path}' does not exist; paths are relative to the present folder"
                )
            if path.suffix.lower() == ".mol2":
                molecule = Chem.MolFromMol2File(str(path), removeHs=False)
            else:
                molecule = next(iter(Chem.SDMolSupplier(str(path), removeHs=False)), None)
            if molecule is None or not molecule.GetNumAtoms():
                raise InputError(
                    f"'{path}' holds no molecule that RDKit reads; write it as SDF with explicit bond orders"
                )
            molecule = Chem.AddHs(molecule, addCoords=True)
        else:
            molecule = Chem.MolFromSmiles(str(source)) if str(source).strip() else None
            if molecule is None or not molecule.GetNumAtoms():
                raise InputError(
                    f"'{source}' is neither a file in {', '.join(READERS)} nor a SMILES string, as \"CCO\""
                )
            molecule = Chem.AddHs(molecule)
            options = AllChem.ETKDGv3()
            options.randomSeed = seed & 0x7FFFFFFF
            if AllChem.EmbedMolecule(molecule, options) != 0:
                raise InputError(f"no three-dimensional shape was found for '{source}'; give a structure file instead")
    numbers = numpy.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], dtype=numpy.int64)
    bonds = sorted(tuple(sorted((one.GetBeginAtomIdx(), one.GetEndAtomIdx()))) for one in molecule.GetBonds())
    return Structure(
        atom_names=tuple(f"{atom.GetSymbol()}{atom.GetIdx() + 1}" for atom in molecule.GetAtoms()),
        atomic_numbers=numbers,
        residues=(Residue(name=name, number="1"),),
        residue_of_atom=numpy.zeros(len(numbers), dtype=numpy.int64),
        positions=numpy.asarray(molecule.GetConformer().GetPositions()),
        bonds=numpy.array(bonds, dtype=numpy.int64).reshape(-1, 2),
    )


def with_parameters_of(
    structure: Structure, topology: Topology, atomic_numbers: Tensor, masses: Tensor | None = None
) -> tuple[System, Topology]:
    """Returns a molecule where a structure has it, with the topology that another program made of it.

    The structure's atoms are put into the topology's order, told by elements and bonds: names and orders may differ.
    `atomic_numbers` and `masses` [Da] are those of the topology's system. Raises InputError where the two are different
    molecules.
    """
    if topology.connectivity is None:
        raise InputError("the topology has no connectivity, so that its atoms cannot be told; give `connectivity`")
    whose = _graph(topology.atom_names or ("",) * topology.n_atoms, atomic_numbers.tolist(), topology.connectivity)
    ours = _graph(structure.atom_names, structure.atomic_numbers.tolist(), torch.from_numpy(structure.bonds))
    order = same_graph(whose, ours)
    if order is None:
        raise InputError(
            f"the structure ({_formula(ours)}, {len(ours.bonds)} bonds) and the topology ({_formula(whose)}, "
            f"{len(whose.bonds)} bonds) are different molecules; give the topology of this one"
        )
    positions = torch.from_numpy(structure.positions[list(order)])
    return create(positions, atomic_numbers, masses=masses), topology


def join_systems(
    parts: Sequence[tuple[System, Topology]], *, cross: str | None = "lorentz_berthelot"
) -> tuple[System, Topology]:
    """Returns one system of the atoms of several, in their order, with the joined topology; momenta are kept.

    The cell is the one that a part has; parts without one stand in it. `cross` is that of `join_topologies`. Raises
    InputError where two parts have different cells.
    """
    if not parts or any(system.n_systems != 1 for system, _ in parts):
        raise InputError("join_systems takes one system a part, and at least one part")
    systems = [system for system, _ in parts]
    cells = [one for one in systems if bool(one.periodic.any())]
    if any(not torch.equal(one.cell, cells[0].cell) for one in cells[1:]):
        raise InputError("the parts have different cells; leave out all but one (`periodic=False`)")

    def stacked(name: str) -> Tensor:
        return torch.cat([getattr(one, name).to(systems[0].positions.dtype) for one in systems])

    framed = cells[0] if cells else systems[0]
    system = create(
        stacked("positions"),
        torch.cat([one.atomic_numbers for one in systems]),
        masses=stacked("masses"),
        cell=framed.cell,
        periodic=framed.periodic,
    )
    topology = join_topologies(*(one for _, one in parts), cross=cross)
    return tree.replace(system, momenta=stacked("momenta")), topology


def _graph(names: Sequence[str], elements: Sequence[int], bonds: Tensor) -> Graph:
    return Graph(
        name="",
        names=tuple(names),
        elements=tuple(elements),
        bonds=tuple((int(i), int(j)) for i, j in bonds.tolist()),
        external=(0,) * len(elements),
    )


def _formula(graph: Graph) -> str:
    from ase.formula import Formula
    from ase.symbols import Symbols

    return str(Formula(str(Symbols(list(graph.elements)))).convert("hill"))
