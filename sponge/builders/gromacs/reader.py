"""GROMACS's topologies with their coordinates: one system and its force field [Abraham2015]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from sponge.builders.assembly import assemble
from sponge.builders.coordinates import Coordinates, read_coordinates
from sponge.builders.gromacs.atoms import kinds_of, read_atoms
from sponge.builders.gromacs.lines import read_lines
from sponge.builders.gromacs.molecules import topology_of
from sponge.builders.gromacs.parameters import Force, read_sections
from sponge.builders.joining import join_topologies
from sponge.builders.replicas import replicate_topology
from sponge.builders.rigidity import Constraints
from sponge.system import System
from sponge.topology import Topology


def from_gromacs(
    topology: Path | str,
    coordinates: Path | str,
    *,
    include: Sequence[Path | str] = (),
    defines: Mapping[str, str] | Sequence[str] = (),
    rigid_water: bool = False,
    constraints: Constraints = None,
    cell: Float[Tensor, "3 3"] | None = None,
    periodic: bool = True,
    dtype: torch.dtype = torch.float64,
) -> tuple[System, Topology]:
    """Returns the system and topology of a .top file, with what it includes, and a .gro file.

    `include` are folders where included files are looked for, `defines` macros as of `-D` ("FLEXIBLE"). Water with
    [ settles ] is rigid, and [ constraints ] hold; `rigid_water` and `constraints` ("hydrogens", "all") make more so.
    Parameters of a second state (B) are left out, and so are position restraints. Raises StorageError for a missing
    file, InputError for what cannot be read, and for a term without parameters: it names the atoms and the types.
    """
    macros = dict(defines) if isinstance(defines, Mapping) else dict.fromkeys(defines, "")
    top = Path(topology)
    force = read_sections(read_lines(top, include=[Path(folder) for folder in include], defines=macros))
    whole, numbers, masses = _system(force, top)
    found = read_coordinates(coordinates, with_cell=periodic and cell is None)
    box = found.cell if cell is None else cell.detach().cpu().double().numpy()
    return assemble(
        Coordinates(positions=found.positions, velocities=found.velocities, cell=box if periodic else None),
        whole,
        atomic_numbers=numbers,
        masses=masses,
        rigid_water=rigid_water,
        constraints=constraints,
        dtype=dtype,
    )


def _system(force: Force, path: Path) -> tuple[Topology, Tensor, Tensor]:
    counts = [(name, count) for name, count in force.counts if count > 0]
    if force.rule == 0 or not counts:
        lacks = "[ defaults ]" if force.rule == 0 else "[ molecules ]"
        raise InputError(f"'{path}' has no {lacks}; give the topology of a system, with its force field included")
    unknown = [name for name, _ in counts if name not in force.molecules]
    if unknown:
        known = ", ".join(force.molecules) or "none"
        raise InputError(f"'{path}': [ molecules ] counts {unknown[0]}, which is not described; known are {known}")
    atoms = {name: read_atoms(force, force.molecules[name]) for name in dict.fromkeys(name for name, _ in counts)}
    kinds = kinds_of(force, list(dict.fromkeys(kind for one in atoms.values() for kind in one.types)))
    single = {name: topology_of(force, force.molecules[name], one, kinds) for name, one in atoms.items()}
    whole = join_topologies(*(replicate_topology(single[name], count) for name, count in counts))
    numbers = torch.cat([torch.tensor(atoms[name].numbers).repeat(count) for name, count in counts])
    masses = torch.cat([torch.tensor(atoms[name].masses, dtype=torch.float64).repeat(count) for name, count in counts])
    return _numbered(whole, [count * [len(single[name].residues)] for name, count in counts]), numbers, masses


def _numbered(whole: Topology, per_molecule: list[list[int]]) -> Topology:
    """Residues of molecules that have one go on counting, as GROMACS numbers them: not every water is the first."""
    residues = list(whole.residues)
    last, place = 0, 0
    for size in (size for sizes in per_molecule for size in sizes):
        if size == 1:
            last += 1
            residues[place] = tree.replace(residues[place], number=str(last))
        else:
            digits = [residue.number for residue in residues[place : place + size] if residue.number.isdigit()]
            last = max([last, *(int(number) for number in digits)])
        place += size
    return tree.replace(whole, residues=tuple(residues))
