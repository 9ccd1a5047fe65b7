"""A classical force field: the sum of the terms of a topology."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import UnknownNameError
from mindsci.kernels import choose_engine
from sponge.forcefield import bonded, born, ewald, pairs, pme, restraints
from sponge.forcefield.clusters import PARTS, ClusterList, ClusterSearch, CompiledTerms
from sponge.forcefield.options import Options
from sponge.forcefield.options import check as check_options
from sponge.forcefield.sites import place_virtual_sites, spread_site_forces
from sponge.forcefield.torsion_maps import torsion_maps
from sponge.neighbors import Neighbors, displacements
from sponge.potentials.potential import Evaluation, Potential, differentiate
from sponge.system import System
from sponge.topology import Nonbonded, ScaledPairs, Topology

logger = logging.getLogger(__name__)

ENGINES = ("auto", "reference", "numba")
WITHOUT_PAIRS = None
"""in place of neighbours: the pairs within the cutoff are summed elsewhere"""

COVALENT: dict[str, Callable[[System, Any], Tensor]] = {
    "bonds": bonded.bonds,
    "angles": bonded.angles,
    "urey_bradley": bonded.bonds,
    "torsions": bonded.torsions,
    "impropers": bonded.torsions,
    "harmonic_impropers": bonded.harmonic_impropers,
    "torsion_maps": torsion_maps,
    "position_restraints": restraints.position_restraints,
    "distance_restraints": restraints.distance_restraints,
}


class ForceField(Potential):
    """The energy of a topology, in plain torch; differentiable in positions, cell and the topology's parameters.

    Args:
        topology: of the atoms of the systems it will see, in their order; a batch of several lies in one topology.
        options: how pairs are summed.
        engine: reference, or numba for compiled pairs on a CPU; auto takes it where it serves and no gradient of the
            energy is asked for, and says why in the log where it does not.
    """

    half = True

    def __init__(self, topology: Topology, options: Options | None = None, *, engine: str = "auto") -> None:
        super().__init__()
        if engine not in ENGINES:
            raise UnknownNameError.of("engine", engine, list(ENGINES))
        self.engine = engine
        self._compiled: CompiledTerms | None = None
        self._rest: ForceField | None = None
        self.options = Options() if options is None else options
        check_options(self.options)
        if self.options.implicit_solvent is not None:
            born.check(topology, self.options)
        self.topology = topology
        self.cutoff = float("inf") if self.options.coulomb == "all" else self.options.cutoff
        if topology.nonbonded is None:
            self.cutoff = 0.0  # covalent terms name their atoms: no pairs are looked for

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ForceField:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.topology = tree.map(fn, self.topology)
        self._compiled = self._rest = None
        return self

    def search(self, system: System, *, skin: float, engine: str = "auto") -> Any:
        """Returns how lists for this system are made: of clusters of atoms where the compiled engine serves."""
        self.check(system)
        available = {"numba": lambda: self._cannot_compile(system), "reference": lambda: None}
        chosen, why = choose_engine(self.engine, device=system.positions.device, available=available)
        logger.info("force field: engine %s, %s", chosen, why)
        if chosen == "reference":
            return super().search(system, skin=skin, engine=engine)
        return ClusterSearch(terms=self._compiled_terms(system).pairs, cutoff=self.cutoff, skin=skin)

    def _cannot_compile(self, system: System) -> str | None:
        """Why the compiled engine does not serve, or None."""
        nonbonded = self.topology.nonbonded
        if system.positions.device.type != "cpu":
            return f"it runs on the CPU, not on {system.positions.device.type}"
        if nonbonded is None or self.options.coulomb == "all":
            return "it takes pairs within a cutoff, and there are none"
        if self.options.lennard_jones == "pme":
            return "it has no sum of dispersion over waves"
        if system.n_systems > 1:
            return f"it takes one system, not {system.n_systems}"
        if tree.parameters(self.topology):
            return "parameters of the topology ask for a gradient"
        return None

    def _compiled_terms(self, system: System) -> CompiledTerms:
        dtype = system.positions.numpy().dtype
        if self._compiled is None or self._compiled.dtype != dtype:
            self._compiled = CompiledTerms(self.topology, self.options, dtype)
            # What is left to plain torch: torsion maps, and the Ewald sum over waves.
            left = dict.fromkeys([*PARTS, "virtual_sites"])
            options = tree.replace(self.options, long_range_correction=False)
            if options.coulomb == "pme":
                options = tree.replace(options, coulomb="cutoff")
            self._rest = ForceField(tree.replace(self.topology, **left), options, engine="reference")
        return self._compiled

    def compiled_alone(self, system: System) -> CompiledTerms | None:
        """Returns the compiled kernels where they are all there is; None where plain torch or sites add to them."""
        if self.topology.virtual_sites is not None:
            return None
        compiled = self._compiled_terms(system)
        return compiled if self._rest is None or self._rest.only_pairs else None

    def evaluate(
        self, system: System, neighbors: Any, *, virial: bool = False, create_graph: bool = False
    ) -> Evaluation:
        if self.topology.nonbonded is None:
            neighbors = WITHOUT_PAIRS  # whatever list the system has is that of other forces
        if isinstance(neighbors, ClusterList):
            if not create_graph:
                return self.compiled_evaluate(system, neighbors, virial=virial)
            neighbors = neighbors.plain(system)
        found = super().evaluate(system, neighbors, virial=virial, create_graph=create_graph)
        if found.virial is None or self.topology.nonbonded is None or not self.options.long_range_correction:
            return found
        step = pairs.virial_of_the_step(*self._uniform(system, self.topology.nonbonded)).to(found.virial)
        unit = torch.eye(3, dtype=step.dtype, device=step.device)
        return tree.replace(found, virial=found.virial + step[:, None, None] * unit)

    def compiled_evaluate(
        self, system: System, neighbors: ClusterList, *, virial: bool = False, observed: bool = True
    ) -> Evaluation:
        """Returns what the kernels find; where nothing is observed, forces of the same bits, and no energy."""
        system, sites = place_virtual_sites(system, self.topology.virtual_sites), self.topology.virtual_sites
        value, forces, found = self._compiled_terms(system).evaluate(
            system, neighbors, virial=virial and observed, observed=observed
        )
        energy = torch.full_like(system.energy, value)
        if self._rest is not None and not self._rest.only_pairs:
            rest = differentiate(self._rest, system, WITHOUT_PAIRS, virial=virial and observed)  # type: ignore[arg-type]
            energy, forces = energy + rest.energy, forces + rest.forces
            found = None if found is None or rest.virial is None else found + rest.virial
        if sites is not None:
            forces, lacking = spread_site_forces(system, sites, forces)
            found = None if found is None else found + lacking
        return Evaluation(energy=energy, forces=forces, virial=found)

    @property
    def only_pairs(self) -> bool:
        """Whether the energy is that of pairs within the cutoff, and nothing else."""
        others = [*COVALENT, "pairs14", "virtual_sites"]
        beyond = self.options.long_range_correction or self.options.splits
        return not beyond and all(getattr(self.topology, name) is None for name in others)

    def forward(self, system: System, neighbors: Neighbors | None) -> Float[Tensor, " systems"]:
        # Where the pairs are left out, nothing else may depend on positions: a zero that does keeps the graph whole.
        none = torch.zeros_like(system.energy) + (0.0 * system.positions.sum() if neighbors is WITHOUT_PAIRS else 0.0)
        return sum(self.energies(system, neighbors).values(), start=none)

    def energies(self, system: System, neighbors: Neighbors | None) -> dict[str, Float[Tensor, " systems"]]:
        """Returns each term of each system [eV], float64, by name; without neighbours, all but the pairs' terms."""
        if isinstance(neighbors, ClusterList):
            neighbors = neighbors.plain(system)
        self.check(system)
        topology = self.topology
        system = place_virtual_sites(system, topology.virtual_sites)
        found = {}
        for name, energy in COVALENT.items():
            terms = getattr(topology, name)
            if terms is not None:
                found[name] = _of_systems(
                    system, terms.atoms.reshape(len(terms.atoms), -1)[:, 0], energy(system, terms)
                )
        if topology.pairs14 is not None:
            found |= self._scaled_pairs(system, topology.pairs14)
        if topology.nonbonded is not None:
            if neighbors is not WITHOUT_PAIRS:
                found |= self._within_cutoff(system, neighbors, topology.nonbonded)
            if self.options.long_range_correction:
                found["long_range_correction"] = self._beyond_cutoff(system, topology.nonbonded)
            if self.options.implicit_solvent is not None:
                found |= self._solvent(system, neighbors, topology.nonbonded)
            if self.options.splits:
                found |= self._beyond_real_space(system, topology.nonbonded)
            if self.options.lennard_jones == "pme":
                found |= self._dispersion(system, topology.nonbonded)
        return found

    def _dispersion(self, system: System, terms: Nonbonded) -> dict[str, Tensor]:
        alpha = self.options.alpha
        coefficients = dispersion_coefficients(terms).to(system.positions.dtype)
        mesh = tree.replace(pme.mesh_of(system.cell, self.options), dispersion=True)
        first, second = terms.exclusions.unbind(1)
        r = torch.linalg.vector_norm(bonded.between(system, first, second), dim=-1)
        image = coefficients[first] * coefficients[second] * pairs.dispersion_share(r, alpha)
        return {
            "dispersion_reciprocal": pme.reciprocal(system, coefficients, mesh),
            "dispersion_self": alpha**6 / 12.0 * system.sum_over_atoms(coefficients.double() ** 2),
            "dispersion_excluded": _of_systems(system, first, image),
        }

    def _scaled_pairs(self, system: System, terms: ScaledPairs) -> dict[str, Tensor]:
        first, second = terms.atoms.unbind(1)
        r = torch.linalg.vector_norm(bonded.between(system, first, second), dim=-1)
        attraction = pairs.full_lennard_jones(r, terms.sigma, terms.epsilon)
        return {
            "lennard_jones_14": _of_systems(system, first, attraction),
            "coulomb_14": _of_systems(system, first, self.options.coulomb_constant * terms.charge_product / r),
        }

    def _within_cutoff(self, system: System, neighbors: Neighbors, terms: Nonbonded) -> dict[str, Tensor]:
        centre, neighbor = neighbors.centre, neighbors.neighbor
        vectors = displacements(system, neighbors)
        near = (vectors.detach() ** 2).sum(-1) < self.cutoff**2
        kept = (near & ~excluded(system, neighbors, vectors.detach(), terms)).nonzero().flatten()
        centre, neighbor = centre.index_select(0, kept), neighbor.index_select(0, kept)
        r = torch.linalg.vector_norm(vectors.index_select(0, kept), dim=-1)
        kinds = terms.kind[centre], terms.kind[neighbor]
        dispersion = pairs.lennard_jones(r, terms.sigma[kinds], terms.epsilon[kinds], self.options)
        if self.options.lennard_jones == "pme":
            both = dispersion_coefficients(terms).to(r.dtype)
            # What the waves have of the pair goes: within the cutoff the force field's own rule holds.
            share = pairs.dispersion_share(r, self.options.alpha)
            dispersion = dispersion + both[centre] * both[neighbor] * share
        product = self.options.coulomb_constant * terms.charges[centre] * terms.charges[neighbor]
        weight = 1.0 if neighbors.half else 0.5
        electric = product * pairs.coulomb_shape(r, self.options)
        name = "coulomb_real" if self.options.splits else "coulomb"
        return {
            "lennard_jones": _of_systems(system, centre, weight * dispersion),
            name: _of_systems(system, centre, weight * electric),
        }

    def _solvent(self, system: System, neighbors: Neighbors, terms: Nonbonded) -> dict[str, Tensor]:
        parameters = self.topology.generalised_born
        assert parameters is not None
        charges = terms.charges.to(system.positions.dtype)
        nucleic = born.is_nucleic(self.topology).to(system.positions.device)
        found = born.energies(system, neighbors, charges, parameters, nucleic, self.options)
        return {name: system.sum_over_atoms(energy.double()) for name, energy in found.items()}

    def _beyond_cutoff(self, system: System, terms: Nonbonded) -> Float[Tensor, " systems"]:
        return pairs.long_range_correction(*self._uniform(system, terms)).double()

    def _uniform(self, system: System, terms: Nonbonded) -> tuple[Tensor, Tensor, Tensor, Tensor, Options]:
        """What a sum over pairs of uniform density takes."""
        one = torch.nn.functional.one_hot(terms.kind, len(terms.sigma)).to(system.positions.dtype)
        volume = torch.linalg.det(system.cell).abs()
        return system.sum_over_atoms(one), volume, terms.sigma, terms.epsilon, self.options

    def _beyond_real_space(self, system: System, terms: Nonbonded) -> dict[str, Tensor]:
        constant, alpha = self.options.coulomb_constant, self.options.alpha
        charges = terms.charges.to(system.positions.dtype)
        first, second = terms.exclusions.unbind(1)
        r = torch.linalg.vector_norm(bonded.between(system, first, second), dim=-1)
        image = -constant * charges[first] * charges[second] * torch.erf(alpha * r) / r
        if self.options.coulomb == "pme":
            waves = pme.reciprocal(system, charges, pme.mesh_of(system.cell, self.options))
        else:
            waves = ewald.reciprocal(system, charges, alpha=alpha, reach=self.options.reach)
        return {
            "coulomb_reciprocal": constant * waves,
            "coulomb_self": constant * ewald.self_energy(system, charges, alpha),
            "coulomb_excluded": _of_systems(system, first, image),
            "coulomb_background": constant * ewald.background(system, charges, alpha),
        }


def dispersion_coefficients(terms: Nonbonded) -> Float[Tensor, " atoms"]:
    """Returns c of each atom, so that c^2 / r^6 is the attraction of two of its kind [eV^1/2 angstrom^3]."""
    # The root of a depth of zero has no derivative.
    depth = terms.epsilon.diagonal()
    root = torch.where(depth > 0, torch.sqrt(torch.where(depth > 0, depth, 1.0)), 0.0)
    return (2.0 * root * terms.sigma.diagonal() ** 3)[terms.kind]


def excluded(
    system: System, neighbors: Neighbors, vectors: Float[Tensor, "edges 3"], terms: Nonbonded
) -> Bool[Tensor, " edges"]:
    """Returns which edges are excluded pairs at their nearest image; farther images of the same atoms interact."""
    if len(terms.exclusions) == 0:
        return torch.zeros_like(neighbors.centre, dtype=torch.bool)
    low = torch.minimum(neighbors.centre, neighbors.neighbor)
    high = torch.maximum(neighbors.centre, neighbors.neighbor)
    keys = terms.exclusions[:, 0] * system.n_atoms + terms.exclusions[:, 1]
    wanted = low * system.n_atoms + high
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    listed = keys[place] == wanted
    found = listed.nonzero().flatten()
    nearest = bonded.between(system, neighbors.centre[found], neighbors.neighbor[found]).detach()
    # Two images lie a cell apart: any distance between rounding and that tells them.
    same = ((nearest - vectors[found]) ** 2).sum(-1) < 1e-2
    return listed.index_copy(0, found, same)


def _of_systems(
    system: System, atom: Int[Tensor, " terms"], energy: Float[Tensor, " terms"]
) -> Float[Tensor, " systems"]:
    owner = system.system.index_select(0, atom)
    return torch.zeros_like(system.energy).index_add(0, owner, energy.double())
