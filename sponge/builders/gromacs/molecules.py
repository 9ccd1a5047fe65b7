"""A GROMACS molecule as a topology: exclusions, 1-4 pairs, rigid water, virtual sites."""

from __future__ import annotations

import numpy
import torch
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from sponge.builders.assembly import sorted_pairs
from sponge.builders.gromacs.atoms import NANOMETRE, Atoms, Kinds, lennard_jones
from sponge.builders.gromacs.lines import Line
from sponge.builders.gromacs.parameters import Force, MoleculeType
from sponge.builders.gromacs.terms import LINKS, bonded_terms, numbers_of, parameters
from sponge.topology import Nonbonded, RigidWaters, ScaledPairs, Topology, VirtualSites


def topology_of(force: Force, molecule: MoleculeType, atoms: Atoms, kinds: Kinds) -> Topology:
    """Returns one molecule; its kinds are those of the whole system."""
    links = _links(molecule, atoms)
    sites = _virtual_sites(molecule, atoms)
    connected = list(links)
    if sites is not None:
        connected += list(zip(sites.site.tolist(), sites.parents[:, 0].tolist(), strict=True))
    nonbonded = Nonbonded(
        charges=torch.tensor(atoms.charges, dtype=torch.float64),
        kind=torch.tensor([kinds.index[name] for name in atoms.types]),
        sigma=torch.from_numpy(kinds.sigma),
        epsilon=torch.from_numpy(kinds.epsilon),
        exclusions=_exclusions(molecule, atoms, links),
    )
    return tree.replace(
        atoms.names,
        nonbonded=nonbonded,
        pairs14=_pairs(force, molecule, atoms, kinds),
        waters=_settles(molecule, atoms),
        virtual_sites=sites,
        connectivity=sorted_pairs(numpy.array(connected, dtype=numpy.int64).reshape(-1, 2), len(atoms.types)),
        **bonded_terms(force, molecule, atoms),
    )


def _links(molecule: MoleculeType, atoms: Atoms) -> list[tuple[int, int]]:
    """Covalent bonds, those that constraints and settles stand for included."""
    found = []
    for section, functions in LINKS.items():
        for line in molecule.sections.get(section, []):
            if line.words[2] in functions:
                first, second = numbers_of(line, 2, atoms)
                found.append((first, second))
    for line in molecule.sections.get("settles", []):
        (oxygen,) = numbers_of(line, 1, atoms)
        found += [(oxygen, oxygen + 1), (oxygen, oxygen + 2)]
    return found


def _exclusions(molecule: MoleculeType, atoms: Atoms, links: list[tuple[int, int]]) -> Tensor:
    """Pairs within so many bonds, and those that are listed."""
    near: list[set[int]] = [set() for _ in atoms.types]
    for first, second in links:
        near[first].add(second)
        near[second].add(first)
    pairs = []
    for atom in range(len(near)):
        seen = front = {atom}
        for _ in range(molecule.reach):
            front = set().union(*(near[other] for other in front)) - seen
            seen = seen | front
        pairs += [(atom, other) for other in seen if other > atom]
    for line in molecule.sections.get("exclusions", []):
        first, *others = numbers_of(line, len(line.words), atoms)
        pairs += [(first, other) for other in others]
    return sorted_pairs(numpy.array(pairs, dtype=numpy.int64).reshape(-1, 2), len(near))


def _pairs(force: Force, molecule: MoleculeType, atoms: Atoms, kinds: Kinds) -> ScaledPairs | None:
    rows = []
    for line in molecule.sections.get("pairs", []):
        i, j = numbers_of(line, 2, atoms)
        function, *own = line.words[2:]
        product = force.fudge[1] * atoms.charges[i] * atoms.charges[j]
        if function == "1":
            sigma, epsilon = _pair(force, atoms, kinds, (i, j), own, line)
        elif function == "2":
            scale, first, second, *values = parameters(own, 5, line, f"{atoms.name(i)}, {atoms.name(j)}")
            product = scale * first * second
            sigma, epsilon = lennard_jones(force.rule, values[0], values[1], f"'{line.where}'")
        else:
            raise InputError(f"'{line.where}': function {function} of [ pairs ] is not known; 1 and 2 are")
        rows.append(((i, j), sigma, epsilon, product))
    if not rows:
        return None
    pairs, sigmas, epsilons, products = zip(*rows, strict=True)
    numbers = (torch.tensor(values, dtype=torch.float64) for values in (sigmas, epsilons, products))
    sigma_, epsilon_, product_ = numbers
    return ScaledPairs(atoms=torch.tensor(pairs), sigma=sigma_, epsilon=epsilon_, charge_product=product_)


def _pair(
    force: Force, atoms: Atoms, kinds: Kinds, pair: tuple[int, int], own: list[str], line: Line
) -> tuple[float, float]:
    """The line's parameters, those of [ pairtypes ], or scaled ones of the combination rule."""
    types = (atoms.types[pair[0]], atoms.types[pair[1]])
    listed = [own] if own else force.find("pairtypes", "1", types)
    if listed is not None:
        first, second, *_ = parameters(listed[0], 2, line, "-".join(types))
        return lennard_jones(force.rule, first, second, f"'{line.where}'")
    if not force.generate_pairs:
        raise InputError(
            f"'{line.where}': [ pairtypes ] has no parameters for the types {types[0]}-{types[1]} of "
            f"{atoms.name(pair[0])}, {atoms.name(pair[1])}, and the defaults do not generate them; add them"
        )
    place = kinds.index[types[0]], kinds.index[types[1]]
    return float(kinds.generated[0][place]), force.fudge[0] * float(kinds.generated[1][place])


def _settles(molecule: MoleculeType, atoms: Atoms) -> RigidWaters | None:
    lines = molecule.sections.get("settles", [])
    if not lines:
        return None
    first = [numbers_of(line, 1, atoms)[0] for line in lines]
    values = [[NANOMETRE * float(word) for word in line.words[2:4]] for line in lines]
    lengths = torch.tensor(values, dtype=torch.float64)
    if max(first) + 2 >= len(atoms.types):
        raise InputError(
            f"'{lines[0].where}': [ settles ] names the oxygen; its two hydrogens follow it in the molecule"
        )
    triangles = torch.tensor(first)[:, None] + torch.arange(3)
    return RigidWaters(atoms=triangles, oxygen_hydrogen=lengths[:, 0], hydrogen_hydrogen=lengths[:, 1])


def _virtual_sites(molecule: MoleculeType, atoms: Atoms) -> VirtualSites | None:
    rows = []
    for section, width in (("virtual_sites2", 3), ("virtual_sites3", 4)):
        for line in molecule.sections.get(section, []):
            site, *parents = numbers_of(line, width, atoms)
            function, *words = line.words[width:]
            values = parameters(words, {"1": width - 2, "4": 3}.get(function, 0), line, atoms.name(site))
            if (width, function) == (3, "1"):
                rows.append((site, [*parents, parents[1]], [1.0 - values[0], values[0], 0.0], 0.0))
            elif (width, function) in ((4, "1"), (4, "4")):
                b, c, *cross = values
                # 1/nm of the cross product.
                rows.append((site, parents, [1.0 - b - c, b, c], (cross[0] if cross else 0.0) / NANOMETRE))
            else:
                raise InputError(
                    f"'{line.where}': {atoms.name(site)} is a site of [ {section} ] with function {function}, which "
                    "is not linear in its parents; 1 of two, and 1 and 4 of three, are known"
                )
    placed = {row[0] for row in rows}
    missing = [atom for atom, number in enumerate(atoms.numbers) if number == 0 and atom not in placed]
    if missing:
        raise InputError(f"{atoms.name(missing[0])} of {molecule.name} is a virtual site that no section places")
    if not rows:
        return None
    sites, parents_, weights, cross_ = zip(*rows, strict=True)
    return VirtualSites(
        site=torch.tensor(sites),
        parents=torch.tensor(parents_),
        weights=torch.tensor(weights, dtype=torch.float64),
        cross=torch.tensor(cross_, dtype=torch.float64),
    )
