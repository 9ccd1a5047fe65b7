"""Systems from what a chemist has at hand: a SMILES string, or a structure file."""

from __future__ import annotations

from pathlib import Path

import torch

from mindsci.errors import InputError, StorageError
from sponge.ase_atoms import from_ase
from sponge.system import System


def from_smiles(smiles: str, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> System:
    """Returns an open system with the molecule of a SMILES string, hydrogens added, in a reasonable shape.

    The shape is embedded by ETKDG [Riniker2015] from `seed` and relaxed with MMFF94 [Halgren1996]. Raises
    InputError where the string is not SMILES, or where no shape is found.
    """
    import ase
    from rdkit import Chem, rdBase
    from rdkit.Chem import AllChem

    with rdBase.BlockLogs():  # RDKit reports on stderr what the errors below say
        molecule = Chem.MolFromSmiles(smiles) if smiles.strip() else None
        if molecule is None or molecule.GetNumAtoms() == 0:
            raise InputError(f"'{smiles}' is not a SMILES string; ethanol, for example, is \"CCO\"")
        charge = Chem.GetFormalCharge(molecule)
        unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
        if len(Chem.GetMolFrags(molecule)) > 1 or charge or unpaired:
            raise InputError(
                f"'{smiles}' is not one neutral closed-shell molecule (charge {charge}, {unpaired} unpaired electrons, "
                f"{len(Chem.GetMolFrags(molecule))} parts); give one such molecule, or a structure file"
            )
        molecule = Chem.AddHs(molecule)
        options = AllChem.ETKDGv3()
        options.randomSeed = seed & 0x7FFFFFFF
        if AllChem.EmbedMolecule(molecule, options) != 0:
            raise InputError(f"no three-dimensional shape was found for '{smiles}'; give a structure file instead")
        if AllChem.MMFFHasAllMoleculeParams(molecule):
            AllChem.MMFFOptimizeMolecule(molecule, maxIters=1000)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    positions = molecule.GetConformer().GetPositions()
    atoms = ase.Atoms(numbers=numbers, positions=positions - positions.mean(axis=0))
    for index, atom in enumerate(molecule.GetAtoms()):
        if atom.GetIsotope():
            atoms[index].mass = atom.GetMass()
    return from_ase(atoms, dtype=dtype)


def from_file(path: Path | str, *, dtype: torch.dtype = torch.float64) -> System:
    """Returns the last frame of a structure file that ASE reads: XYZ, extended XYZ, PDB, CIF, POSCAR, ...

    The cell and its periodicity come with it where the format holds them. Raises StorageError for a file that
    is missing, InputError for one that is no structure.
    """
    import ase
    import ase.io
    from ase.io.formats import UnknownFileTypeError

    path = Path(path)
    if not path.is_file():
        raise StorageError(f"the structure file '{path}' does not exist; paths are relative to the case file")
    try:
        # ASE takes the END after the last model of a PDB file for one more, without atoms.
        atoms = next((one for one in reversed(ase.io.read(path, index=":")) if len(one)), ase.Atoms())
    except UnknownFileTypeError:
        raise InputError(f"'{path}' has an unknown type; use .xyz, .pdb, .cif or another that ASE reads") from None
    except Exception as error:  # each of ASE's eighty readers raises its own; the cause is always the file
        raise InputError(f"'{path}' cannot be read as a structure ({type(error).__name__}: {error})") from error
    return from_ase(atoms, dtype=dtype)  # type: ignore[arg-type]
