"""Systems from SMILES strings and structure files."""

from sponge.builders.molecules import from_file, from_smiles

__all__ = ["from_file", "from_smiles"]
