"""SchNet: continuous-filter convolutions over interatomic distances [Schutt2017; Schutt2018]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from mindsci.errors import InputError
from mindsci.kernels import choose_engine
from sponge.neighbors import Neighbors, displacements, halved
from sponge.potentials.atomwise import COMPILED, AtomwisePotential
from sponge.potentials.convolution import filter_convolution
from sponge.potentials.potential import Evaluation, Potential
from sponge.potentials.radial import cosine_cutoff
from sponge.system import System


class ShiftedSoftplus(nn.Module):
    """ln(e^x / 2 + 1/2): infinitely differentiable and zero at zero [Schutt2017]."""

    def forward(self, x: Tensor) -> Tensor:
        # Beyond the threshold torch returns x itself; at 40 the difference is below float64 rounding.
        return softplus(x, threshold=40.0) - math.log(2.0)


class SchNet(AtomwisePotential):
    """SchNet [Schutt2017, fig. 2] with a cosine cutoff, reference energies per element and a scale.

    Energy of a system: sum over its atoms of scale * readout(features) + reference[element] [eV].

    Args:
        elements: atomic numbers or symbols that the potential is trained on.
        features, interactions, gaussians: width of the features, number of interaction blocks, number of
            Gaussians that expand a distance.
        cutoff: no interaction beyond it [angstrom].
    """

    trims = True
    engine: str = "auto"
    """what trains it: reference (a tape), or numba (compiled sweeps, on a CPU); auto takes the fastest that serves"""
    centers: Tensor

    def __init__(
        self,
        *,
        elements: Sequence[int | str],
        features: int = 128,
        interactions: int = 6,
        gaussians: int = 50,
        cutoff: float = 5.0,
    ) -> None:
        super().__init__(elements)
        if not cutoff > 0 or gaussians < 2 or features < 2 or interactions < 1:
            raise InputError(
                f"SchNet with cutoff = {cutoff} angstrom, gaussians = {gaussians}, features = {features}, "
                f"interactions = {interactions}: use a positive cutoff, 2 gaussians, 2 features, 1 interaction or more"
            )
        self.config = {
            "elements": list(elements),
            "features": features,
            "interactions": interactions,
            "gaussians": gaussians,
            "cutoff": cutoff,
        }
        self.cutoff = float(cutoff)
        self.embedding = nn.Embedding(len(self.elements), features)
        self.interactions = nn.ModuleList(Interaction(features, gaussians) for _ in range(interactions))
        self.readout = nn.Sequential(nn.Linear(features, features // 2), ShiftedSoftplus(), nn.Linear(features // 2, 1))
        self.register_buffer("centers", torch.linspace(0.0, self.cutoff, gaussians), persistent=False)
        self.reset()

    def atomic_energies(self, system: System, neighbors: Neighbors) -> Float[Tensor, " atoms"]:
        """Returns what each atom adds to the energy, before scale and reference."""
        # The filter depends on the distance alone: one evaluation serves both directions of a pair. A list of fixed
        # capacity keeps both directions, so that each counts half.
        twice = neighbors.worst is not None and not neighbors.half
        neighbors = neighbors if twice else halved(neighbors)
        distances = torch.linalg.vector_norm(displacements(system, neighbors), dim=-1)
        expanded = self.expand(distances)
        envelope = (0.5 if twice else 1.0) * cosine_cutoff(distances, self.cutoff)[:, None]
        x = self.embedding(self.kinds(system))
        for interaction in self.interactions:
            x = x + interaction(x, expanded, envelope, neighbors)
        return self.readout(x)[:, 0]

    def evaluate(
        self, system: System, neighbors: Neighbors, *, virial: bool = False, create_graph: bool = False
    ) -> Evaluation:
        """Returns energies, forces and, if asked, virials, as `Potential.evaluate` does.

        For training on a CPU (`create_graph`, positions that want no gradient) the gradients by the weights come from
        compiled sweeps over tabulated filters, and cannot be differentiated again.
        """
        if create_graph:
            available = {
                "reference": lambda: None,
                "numba": lambda: self._cannot_sweep(system, neighbors, virial),
            }
            engine, _ = choose_engine(self.engine, device=system.positions.device, available=available)
            if engine == "numba":
                from sponge.potentials.schnet_training import evaluate_for_training

                return evaluate_for_training(self, system, neighbors)
        return super().evaluate(system, neighbors, virial=virial, create_graph=create_graph)

    def _cannot_sweep(self, system: System, neighbors: Neighbors, virial: bool) -> str | None:
        if not self.embedding.weight.requires_grad:
            return "no weight wants a gradient"
        if virial or system.positions.requires_grad or system.cell.requires_grad:
            return "compiled sweeps give gradients of energies and forces by the weights alone"
        if neighbors.half or neighbors.worst is not None:
            return "compiled sweeps want a full list that holds just its edges"
        if system.positions.dtype != self.embedding.weight.dtype or self.embedding.weight.dtype not in COMPILED:
            return "compiled sweeps want positions and weights of one dtype, float32 or float64"
        return None if system.positions.device.type == "cpu" else "compiled sweeps run on a CPU"

    def compiled(self, dtype: torch.dtype) -> Potential:
        """Returns its form for use on a CPU."""
        from sponge.potentials.schnet_compiled import CompiledSchNet

        return CompiledSchNet(self, dtype=dtype)

    def expand(self, distances: Float[Tensor, " pairs"]) -> Float[Tensor, "pairs gaussians"]:
        """Returns exp(-(d - mu_k)^2 / (2 width^2)), with centres one width apart from 0 to the cutoff [Schutt2017]."""
        width = self.cutoff / (len(self.centers) - 1)
        return torch.exp(-0.5 * ((distances[:, None] - self.centers) / width) ** 2)


class Interaction(nn.Module):
    """Atom-wise layers around a continuous-filter convolution [Schutt2017, fig. 2]."""

    def __init__(self, features: int, gaussians: int) -> None:
        super().__init__()
        self.filter = nn.Sequential(nn.Linear(gaussians, features), ShiftedSoftplus(), nn.Linear(features, features))
        self.before = nn.Linear(features, features, bias=False)
        self.after = nn.Sequential(nn.Linear(features, features), ShiftedSoftplus(), nn.Linear(features, features))

    def forward(self, x: Tensor, expanded: Tensor, envelope: Tensor, neighbors: Neighbors) -> Tensor:
        filters = self.filter(expanded) * envelope
        return self.after(filter_convolution(self.before(x), filters, neighbors.centre, neighbors.neighbor))
