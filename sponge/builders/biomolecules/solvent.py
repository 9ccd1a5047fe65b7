"""Solutes in water with ions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from sponge.builders.biomolecules.assignment import assign
from sponge.builders.biomolecules.definitions import ForceFieldFiles, read_force_field
from sponge.builders.biomolecules.solvent_cells import check_cell, images, solvent_cell
from sponge.builders.biomolecules.structure import Structure, join_structures
from sponge.builders.biomolecules.templates import NANOMETRE, ResidueTemplate
from sponge.system import System
from sponge.topology import Residue, Topology

WATER_BOX = "water_box.csv"
HEAVY_REACH, HYDROGEN_REACH = 2.6, 1.9
"""A water goes whose oxygen is closer to a heavy atom, or a hydrogen, of the solute [angstrom]: about where hydrogen
bonds are shortest"""
WATER_REACH = 2.25
"""and of two waters one, where the box meets its own image"""
ION_REACH = 5.0
"""Ions begin at least as far from each other [angstrom]"""
WATER_MOLAR = 55.4
"""Molecules of water in a litre [mol]"""
WHOLE = 0.01
"""A charge is a whole number if it is as near to one [e]: templates are printed with rounded charges"""


def solvate(
    structure: Structure,
    force_field: Sequence[Path | str] | Path | str | ForceFieldFiles,
    *,
    shape: str = "box",
    padding: float = 10.0,
    cell: Float[Tensor, "3 3"] | None = None,
    salt: float = 0.0,
    neutralise: bool = True,
    ions: tuple[str, str] = ("Na", "Cl"),
    templates: Mapping[str, str] | None = None,
    beside: tuple[System, Topology] | None = None,
    seed: int = 0,
) -> Structure:
    """Returns the structure in a cell of water, with ions in place of waters drawn by `seed`.

    The cell is `cell` (row vectors [angstrom]), or of a `shape`: box, cube, octahedron (truncated) or dodecahedron
    (rhombic), with at least `padding` [angstrom] about the solute. The water is an equilibrated box of 216 molecules,
    repeated; it has the shape of the force field's water. `neutralise` adds ions against the solute's charge, `salt`
    pairs of ions of one charge [mol/l]. `beside` is what has its parameters from elsewhere: it takes room and has a
    charge, and `join_systems` puts it behind the rest. Surfaces lack some waters: minimise, then equilibrate at
    constant pressure. Raises InputError where the force field has no water or ion, and for a charge that is not whole.
    """
    files = force_field if isinstance(force_field, ForceFieldFiles) else read_force_field(force_field)
    positions, numbers = _solute(structure, beside)
    if cell is None:
        vectors = solvent_cell(positions, shape, padding)
    else:
        vectors = cell.detach().cpu().double().numpy()
        check_cell(vectors)
    water = _water_template(files)
    # The cell stands about the middle of the solute.
    origin = 0.5 * (positions.min(0) + positions.max(0)) - 0.5 * vectors.sum(0)
    places = _water(vectors)
    places = _shaped(places, water, files)
    places = places[_free(places[:, 0], positions - origin, numbers, vectors)] + origin
    charge = _charge(structure, files, templates, beside)
    counts = _counts(charge, len(places), salt, neutralise)
    drawn = _draw(places[:, 0], sum(counts), numpy.random.default_rng(seed))
    parts = [tree.replace(structure, cell=vectors)]
    at = 0
    for symbol, sign, count in zip(ions, (1, -1), counts, strict=True):
        if count:
            parts.append(_ions(_ion_template(files, symbol, sign), places[drawn[at : at + count], 0]))
            at += count
    parts.append(_molecules(water, numpy.delete(places, drawn, axis=0)))
    return join_structures(*(part for part in parts if part.n_atoms))


def _water(cell: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """Waters (molecules, 3 atoms, 3) of a cell at the origin, from copies of the box; none overlap across faces."""
    table = numpy.loadtxt(Path(__file__).with_name(WATER_BOX), delimiter=",", skiprows=1)
    edge = float(Path(__file__).with_name(WATER_BOX).read_text().split("\n", 1)[0])
    corners = numpy.stack(numpy.meshgrid(*[[0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3) @ cell
    low, high = numpy.floor(corners.min(0) / edge), numpy.ceil(corners.max(0) / edge)
    steps = [numpy.arange(a, b) for a, b in zip(low, high, strict=True)]
    tiles = edge * numpy.stack(numpy.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 1, 1, 3)
    places = (table.reshape(1, -1, 3, 3) + tiles).reshape(-1, 3, 3)
    fractional = places[:, 0] @ numpy.linalg.inv(cell)
    places = places[((fractional >= 0.0) & (fractional < 1.0)).all(1)]
    points, owner = images(places[:, 0], cell, WATER_REACH)
    pairs = cKDTree(points).query_pairs(WATER_REACH, output_type="ndarray")
    first, second = owner[pairs].T
    gone = numpy.zeros(len(places), dtype=bool)
    for one, other in sorted({(min(a, b), max(a, b)) for a, b in zip(first.tolist(), second.tolist(), strict=True)}):
        if not gone[one]:
            gone[other] = True
    return places[~gone]


def _solute(
    structure: Structure, beside: tuple[System, Topology] | None
) -> tuple[NDArray[numpy.float64], NDArray[numpy.int64]]:
    """Positions and elements of everything that water stands around."""
    if beside is None:
        return structure.positions, structure.atomic_numbers
    system = beside[0]
    return (
        numpy.concatenate([structure.positions, system.positions.detach().cpu().double().numpy()]),
        numpy.concatenate([structure.atomic_numbers, system.atomic_numbers.cpu().numpy()]),
    )


def _free(
    oxygens: NDArray[numpy.float64],
    solute: NDArray[numpy.float64],
    numbers: NDArray[numpy.int64],
    cell: NDArray[numpy.float64],
) -> NDArray[numpy.bool_]:
    """Which waters do not overlap with the solute or one of its images; the cell begins at the origin."""
    inside = solute - numpy.floor(solute @ numpy.linalg.inv(cell)) @ cell
    free = numpy.ones(len(oxygens), dtype=bool)
    for light, reach in ((False, HEAVY_REACH), (True, HYDROGEN_REACH)):
        chosen = inside[(numbers == 1) == light]
        if len(chosen):
            points, _ = images(chosen, cell, reach)
            free &= ~numpy.isfinite(cKDTree(points).query(oxygens, distance_upper_bound=reach)[0])
    return free


def _shaped(places: NDArray[numpy.float64], water: ResidueTemplate, files: ForceFieldFiles) -> NDArray[numpy.float64]:
    """The waters with the lengths and angle of the force field's, in their planes."""
    kinds = {atom.atomic_number: atom.kind for atom in water.atoms}
    bond = files.parameters.bonds.find((kinds[8], kinds[1]), wildcards_last=False)
    angle = files.parameters.angles.find((kinds[1], kinds[8], kinds[1]), wildcards_last=False)
    if bond is None or angle is None:
        raise InputError(f"the water {water.name} of the force field has no bond or angle; give the file that has them")
    one, other = (places[:, k] - places[:, 0] for k in (1, 2))
    along, across = one + other, one - other
    along /= numpy.linalg.norm(along, axis=1, keepdims=True)
    across -= (across * along).sum(1, keepdims=True) * along
    across /= numpy.linalg.norm(across, axis=1, keepdims=True)
    length, half = NANOMETRE * bond.values[0], 0.5 * angle.values[0]
    up, side = length * numpy.cos(half) * along, length * numpy.sin(half) * across
    return numpy.stack([places[:, 0], places[:, 0] + up + side, places[:, 0] + up - side], axis=1)


def _water_template(files: ForceFieldFiles) -> ResidueTemplate:
    for template in files.templates.values():
        if sorted(atom.atomic_number for atom in template.atoms if atom.atomic_number) == [1, 1, 8]:
            return template
    raise InputError("the force field has no water; give a file that has it, as 'amber14/tip3p.xml'")


def _ion_template(files: ForceFieldFiles, symbol: str, sign: int) -> ResidueTemplate:
    from ase.data import atomic_numbers

    number = atomic_numbers.get(symbol.rstrip("+-0123456789").capitalize(), 0)
    for template in files.templates.values():
        if [atom.atomic_number for atom in template.atoms] == [number] and number:
            atom = template.atoms[0]
            charge = files.parameters.charges.get(atom.kind, atom.values.get("charge", 0.0))
            if abs(charge - sign) < WHOLE:
                return template
    raise InputError(
        f"the force field has no ion {symbol} of charge {sign:+d}; name another in `ions`, or give a file that has it"
    )


class _Shape(NamedTuple):
    atoms: tuple[int, ...]
    bonds: tuple[tuple[int, int], ...]


def _molecules(template: ResidueTemplate, places: NDArray[numpy.float64]) -> Structure:
    """Waters, one residue each, with the names of the template; oxygen first."""
    real = sorted((atom for atom in template.atoms if atom.atomic_number), key=lambda atom: -atom.atomic_number)
    shape = _Shape(atoms=(8, 1, 1), bonds=((0, 1), (0, 2)))
    return _residues(template.name, [atom.name for atom in real], shape, places)


def _ions(template: ResidueTemplate, places: NDArray[numpy.float64]) -> Structure:
    shape = _Shape(atoms=(template.atoms[0].atomic_number,), bonds=())
    return _residues(template.name, [template.atoms[0].name], shape, places[:, None])


def _residues(name: str, names: list[str], shape: _Shape, places: NDArray[numpy.float64]) -> Structure:
    count, size = len(places), len(names)
    bonds = numpy.array(shape.bonds, dtype=numpy.int64).reshape(1, -1, 2) + size * numpy.arange(count).reshape(-1, 1, 1)
    return Structure(
        atom_names=tuple(names) * count,
        atomic_numbers=numpy.tile(numpy.array(shape.atoms, dtype=numpy.int64), count),
        residues=tuple(Residue(name=name, number=str(number)) for number in range(1, count + 1)),
        residue_of_atom=numpy.repeat(numpy.arange(count), size),
        positions=places.reshape(-1, 3),
        bonds=bonds.reshape(-1, 2),
    )


def _charge(
    structure: Structure,
    files: ForceFieldFiles,
    templates: Mapping[str, str] | None,
    beside: tuple[System, Topology] | None,
) -> int:
    total = float(assign(structure, files, templates).charges.sum())
    if beside is not None and beside[1].nonbonded is not None:
        total += float(beside[1].nonbonded.charges.sum())
    if abs(total - round(total)) > WHOLE:
        raise InputError(f"the charge of the solute is {total:.4f} e, not a whole number; correct its residues")
    return round(total)


def _counts(charge: int, n_waters: int, salt: float, neutralise: bool) -> tuple[int, int]:
    """Ions of each sign."""
    if not salt >= 0.0:
        raise InputError(f"salt = {salt:g} mol/l; use 0 or more")
    against = (max(-charge, 0), max(charge, 0)) if neutralise else (0, 0)
    pairs = round(salt / WATER_MOLAR * (n_waters - sum(against)))
    counts = (against[0] + pairs, against[1] + pairs)
    if 2 * sum(counts) > n_waters:
        raise InputError(f"{sum(counts)} ions for {n_waters} waters; give more padding, or less salt")
    return counts


def _draw(oxygens: NDArray[numpy.float64], count: int, generator: numpy.random.Generator) -> NDArray[numpy.int64]:
    """Waters that become ions, apart from each other as long as there is room."""
    order = generator.permutation(len(oxygens))
    for reach in (ION_REACH, 0.5 * ION_REACH, 0.0):
        chosen: list[int] = []
        for one in order.tolist():
            if len(chosen) == count:
                break
            if all(numpy.linalg.norm(oxygens[one] - oxygens[other]) >= reach for other in chosen):
                chosen.append(one)
        if len(chosen) == count:
            break
    return numpy.array(chosen, dtype=numpy.int64)
