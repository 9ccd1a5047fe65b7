"""PhysNet: modular message passing for energies and partial charges, with long-range electrostatics [Unke2019]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from mindsci.errors import InputError
from sponge.neighbors import Neighbors, all_pairs, displacements, halved
from sponge.potentials.atomwise import AtomwisePotential
from sponge.potentials.convolution import filter_convolution
from sponge.potentials.electrostatics import coulomb_energy
from sponge.potentials.potential import Potential
from sponge.potentials.radial import smooth_cutoff
from sponge.potentials.schnet import ShiftedSoftplus
from sponge.system import System


class PhysNet(AtomwisePotential):
    """PhysNet [Unke2019]: each of its modules refines the features and adds to every atom's energy and charge.

    Energy of a system: sum over its atoms of scale * (factor[element] * sum over modules of e_m + shift[element]) +
    reference[element], and, if asked for, the Coulomb energy of the charges, shielded at short range. The charges are
    corrected by the same amount each to add up to the charge of the system, `system.auxiliary["charge"]` [e], or to
    zero where it has none. The paper's D3 dispersion is left out: add it to the energies from outside, or train on
    labels without it.

    Args:
        elements: atomic numbers or symbols that the potential is trained on.
        features, modules, basis: width of the features, number of modules, radial basis functions.
        atom_residuals, message_residuals, output_residuals: residual layers after, in and beside each interaction.
        cutoff: of the interactions [angstrom].
        electrostatics: whether the Coulomb energy counts.
        coulomb_cutoff: where the Coulomb energy ends, smoothly [angstrom]; None: nowhere, for open systems alone.
    """

    half = True
    trims = True

    def __init__(
        self,
        *,
        elements: Sequence[int | str],
        features: int = 128,
        modules: int = 5,
        basis: int = 64,
        atom_residuals: int = 2,
        message_residuals: int = 3,
        output_residuals: int = 1,
        cutoff: float = 10.0,
        electrostatics: bool = True,
        coulomb_cutoff: float | None = None,
    ) -> None:
        super().__init__(elements)
        residuals = (atom_residuals, message_residuals, output_residuals)
        if not cutoff > 0 or features < 1 or modules < 1 or basis < 2 or min(residuals) < 0:
            raise InputError(
                f"PhysNet with cutoff = {cutoff} angstrom, features = {features}, modules = {modules}, "
                f"basis = {basis}, residual layers {residuals}: use a positive cutoff, 1 feature, 1 module, 2 basis "
                "functions, 0 residual layers or more"
            )
        if coulomb_cutoff is not None and coulomb_cutoff < cutoff:
            raise InputError(
                f"coulomb_cutoff = {coulomb_cutoff} angstrom is inside the cutoff {cutoff}; use {cutoff} or more"
            )
        self.config = {
            "elements": list(elements),
            "features": features,
            "modules": modules,
            "basis": basis,
            "atom_residuals": atom_residuals,
            "message_residuals": message_residuals,
            "output_residuals": output_residuals,
            "cutoff": cutoff,
            "electrostatics": electrostatics,
        }
        if coulomb_cutoff is not None:
            self.config["coulomb_cutoff"] = coulomb_cutoff
        self.short_cutoff, self.electrostatics, self.coulomb_cutoff = float(cutoff), electrostatics, coulomb_cutoff
        self.cutoff = float(coulomb_cutoff if electrostatics and coulomb_cutoff else cutoff)
        self.terms = ("hierarchy",) if modules > 1 else ()
        self.embedding = nn.Embedding(len(self.elements), features)
        self.radial = ExponentialBasis(basis, self.short_cutoff)
        self.blocks = nn.ModuleList(Block(features, basis, *residuals) for _ in range(modules))
        self.factors = nn.Parameter(torch.ones(len(self.elements), 2))
        self.shifts = nn.Parameter(torch.zeros(len(self.elements), 2))
        self.reset()

    def reset(self) -> None:
        """Draws new weights: Xavier uniform, zero biases, no filters and no energies to begin with.

        Charges begin small, not at zero, where their Coulomb energy would be stationary.
        """
        super().reset()
        bound = math.sqrt(3.0)
        nn.init.uniform_(self.embedding.weight, -bound, bound)
        for block in self.blocks:
            nn.init.zeros_(block.filter.weight)
            with torch.no_grad():
                block.output[-1].weight.mul_(torch.tensor([[0.0], [0.1]]))

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        return self._energy(system, neighbors, self._outputs(system, neighbors))

    def energy_and_terms(
        self, system: System, neighbors: Neighbors
    ) -> tuple[Float[Tensor, " systems"], dict[str, Float[Tensor, ""]]]:
        """Returns energies and, where there are several modules, "hierarchy", the `hierarchy_penalty`."""
        found = self._outputs(system, neighbors)
        return self._energy(system, neighbors, found), {name: _hierarchy(found) for name in self.terms}

    def _energy(
        self, system: System, neighbors: Neighbors, found: list[Float[Tensor, "atoms 2"]]
    ) -> Float[Tensor, " systems"]:
        energy = self.sum_of_atoms(system, self._scaled(system, found)[:, 0])
        if not self.electrostatics:
            return energy
        return energy + self._coulomb(system, neighbors, corrected_charges(system, self._scaled(system, found)[:, 1]))

    def charges(self, system: System, neighbors: Neighbors) -> Float[Tensor, " atoms"]:
        """Returns the partial charge of each atom [e]; those of a system add up to its charge."""
        return corrected_charges(system, self._scaled(system, self._outputs(system, neighbors))[:, 1])

    def dipole(self, system: System, neighbors: Neighbors) -> Float[Tensor, "systems 3"]:
        """Returns the sum of charges times positions [e angstrom] of open systems.

        That of a charged system is with respect to the origin.
        """
        return system.sum_over_atoms(self.charges(system, neighbors)[:, None] * system.positions)

    def hierarchy_penalty(self, system: System, neighbors: Neighbors) -> Float[Tensor, ""]:
        """Returns a mean over atoms, for a loss, that is large where later modules add more than earlier ones.

        sum over m > 1 of e_m^2 / (e_m^2 + e_(m-1)^2) / 2, and the same of the charges [Unke2019]; the paper weighs it
        by 0.01.
        """
        return _hierarchy(self._outputs(system, neighbors))

    @property
    def filter_cutoff(self) -> float:
        """Where the interactions end [angstrom]; the Coulomb energy may reach farther."""
        return self.short_cutoff

    def compiled(self, dtype: torch.dtype) -> Potential:
        """Returns its form for use on a CPU."""
        from sponge.potentials.physnet_compiled import CompiledPhysNet

        return CompiledPhysNet(self, dtype=dtype)

    def check(self, system: System) -> None:
        """Raises InputError for unknown elements, and for a periodic system where the Coulomb energy has no cutoff."""
        super().check(system)
        if self.electrostatics:
            check_reach(system, self.coulomb_cutoff)

    def _outputs(self, system: System, neighbors: Neighbors) -> list[Float[Tensor, "atoms 2"]]:
        """Energy and charge of every atom that each module adds."""
        # A list of fixed capacity keeps both directions of a pair, so that each counts half.
        twice = neighbors.worst is not None and not neighbors.half
        pairs = neighbors if twice else halved(neighbors)
        distances = torch.linalg.vector_norm(displacements(system, pairs), dim=-1)
        centre, neighbor = pairs.centre, pairs.neighbor
        if self.cutoff > self.short_cutoff and neighbors.worst is None and not torch.compiler.is_compiling():
            near = (distances < self.short_cutoff).nonzero().flatten()
            distances, centre, neighbor = (each.index_select(0, near) for each in (distances, centre, neighbor))
        radial = self.radial(distances) * (0.5 if twice else 1.0)
        x = self.embedding(self.kinds(system))
        found = []
        for block in self.blocks:
            x = block(x, radial, centre, neighbor)
            found.append(block.output(x))
        return found

    def _scaled(self, system: System, found: list[Tensor]) -> Float[Tensor, "atoms 2"]:
        kinds = self.kinds(system)
        return self.factors[kinds] * torch.stack(found).sum(0) + self.shifts[kinds]

    def _coulomb(self, system: System, neighbors: Neighbors, charges: Tensor) -> Float[Tensor, " systems"]:
        if self.coulomb_cutoff is None and neighbors.cutoff != float("inf"):
            neighbors = all_pairs(system, half=True)
        twice = neighbors.worst is not None and not neighbors.half
        pairs = neighbors if twice else halved(neighbors)
        distances = torch.linalg.vector_norm(displacements(system, pairs), dim=-1)
        products = charges.index_select(0, pairs.centre) * charges.index_select(0, pairs.neighbor)
        energies = coulomb_energy(
            distances, products, shielded_within=self.short_cutoff, cutoff=self.coulomb_cutoff
        ) * (0.5 if twice else 1.0)
        owners = system.system.index_select(0, pairs.centre)
        return energies.new_zeros(system.n_systems, dtype=torch.float64).index_add(0, owners, energies.double())


def _hierarchy(found: list[Float[Tensor, "atoms 2"]]) -> Float[Tensor, ""]:
    squared = torch.stack(found) ** 2
    return (squared[1:] / (squared[1:] + squared[:-1] + 1e-7)).mean((1, 2)).sum()


def check_reach(system: System, coulomb_cutoff: float | None) -> None:
    """Raises InputError for a periodic system where the Coulomb energy has no cutoff."""
    if coulomb_cutoff is None and bool(system.periodic.any()):
        raise InputError(
            "this PhysNet sums Coulomb energies over all pairs, but the system is periodic; make it with "
            "coulomb_cutoff = 12.0 [angstrom], or with electrostatics = false"
        )


def corrected_charges(
    system: System, charges: Float[Tensor, " atoms"], *, neutral: bool = False
) -> Float[Tensor, " atoms"]:
    """Returns charges [e] that add up to that of each system, what was missing shared alike; neutral: to zero."""
    wanted = charges.new_zeros(system.n_systems)
    if not neutral:
        wanted = system.auxiliary.get("charge", wanted).to(charges)
    missing = (wanted - system.sum_over_atoms(charges)) / system.atom_counts
    return charges + missing.index_select(0, system.system)


class ExponentialBasis(nn.Module):
    """f(d) exp(-beta_k (exp(-d) - mu_k)^2), d in angstrom, with learnt centres and widths [Unke2019].

    The mu_k begin evenly between exp(-cutoff) and 1, all beta_k at (2 (1 - exp(-cutoff)) / count)^-2; each is the
    softplus of a parameter, so that it stays positive.
    """

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        closest = math.exp(-cutoff)
        widths = torch.full((count,), (0.5 * count / (1.0 - closest)) ** 2, dtype=torch.float64)
        centers = torch.linspace(1.0, closest, count, dtype=torch.float64)
        self.centers = nn.Parameter(_softplus_inverse(centers).float())
        self.widths = nn.Parameter(_softplus_inverse(widths).float())

    def forward(self, distances: Float[Tensor, " pairs"]) -> Float[Tensor, "pairs basis"]:
        apart = torch.exp(-distances)[:, None] - softplus(self.centers)
        return smooth_cutoff(distances, self.cutoff)[:, None] * torch.exp(-softplus(self.widths) * apart * apart)


class Residual(nn.Module):
    """x + W2 ssp(W1 ssp(x) + b1) + b2 [Unke2019]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.inner = nn.Linear(features, features)
        self.outer = nn.Linear(features, features)
        self.activation = ShiftedSoftplus()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(self.activation(self.inner(self.activation(x))))


class Block(nn.Module):
    """A module of the paper: an interaction, residual layers on atoms, and beside them the output."""

    def __init__(self, features: int, basis: int, atom: int, message: int, output: int) -> None:
        super().__init__()
        self.activation = ShiftedSoftplus()
        self.filter = nn.Linear(basis, features, bias=False)
        self.own, self.others, self.after = (nn.Linear(features, features) for _ in range(3))
        self.gate = nn.Parameter(torch.ones(features))
        self.message = nn.Sequential(*(Residual(features) for _ in range(message)))
        self.atom = nn.Sequential(*(Residual(features) for _ in range(atom)))
        self.output = nn.Sequential(
            *(Residual(features) for _ in range(output)), ShiftedSoftplus(), nn.Linear(features, 2, bias=False)
        )

    def forward(self, x: Tensor, radial: Tensor, centre: Tensor, neighbor: Tensor) -> Tensor:
        """Returns the features after gate * x + W ssp(message) + b and the residual layers on atoms.

        message = ssp(W_i ssp(x_a) + b_i) + sum over neighbours b of (G radial_ab) * ssp(W_j ssp(x_b) + b_j), through
        its residual layers.
        """
        active = self.activation(x)
        sent = self.activation(self.others(active))
        message = self.activation(self.own(active)) + filter_convolution(sent, self.filter(radial), centre, neighbor)
        x = self.gate * x + self.after(self.activation(self.message(message)))
        return self.atom(x)


def _softplus_inverse(values: Tensor) -> Tensor:
    return values + torch.log(-torch.expm1(-values))
