"""PaiNN: messages of scalars and vectors, equivariant under rotation [Schutt2021]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from mindsci.errors import InputError
from mindsci.kernels import choose_engine
from sponge.neighbors import Neighbors, displacements, halved
from sponge.potentials.atomwise import COMPILED, AtomwisePotential
from sponge.potentials.painn_messages import compiled_messages, messages
from sponge.potentials.potential import Potential
from sponge.potentials.radial import cosine_cutoff
from sponge.system import System

SMALLEST = 1e-8
"""added to the square of a norm, whose slope at zero has no value"""


class PaiNN(AtomwisePotential):
    """PaiNN [Schutt2021, fig. 2]; energy: sum over atoms of scale * readout(scalars) + reference[element] [eV].

    Vectors are zero before the first block and are read by no one after the last: what weighs them there is not
    evaluated, which changes nothing.

    Args:
        elements: atomic numbers or symbols that the potential is trained on.
        features, interactions, basis: width of scalars and vectors, number of message and update blocks, number of
            radial functions.
        cutoff: no interaction beyond it [angstrom].
    """

    trims = True
    half = True
    engine: str = "auto"
    """what passes the messages: reference (plain torch) or numba (compiled, on a CPU); auto takes what serves"""
    orders: Tensor

    def __init__(
        self,
        *,
        elements: Sequence[int | str],
        features: int = 128,
        interactions: int = 3,
        basis: int = 20,
        cutoff: float = 5.0,
    ) -> None:
        super().__init__(elements)
        if not cutoff > 0 or basis < 1 or features < 2 or interactions < 1:
            raise InputError(
                f"PaiNN with cutoff = {cutoff} angstrom, basis = {basis}, features = {features}, "
                f"interactions = {interactions}: use a positive cutoff, 1 radial function, 2 features, 1 interaction "
                "or more"
            )
        self.config = {
            "elements": list(elements),
            "features": features,
            "interactions": interactions,
            "basis": basis,
            "cutoff": cutoff,
        }
        self.cutoff, self.features = float(cutoff), features
        self.embedding = nn.Embedding(len(self.elements), features)
        # The filters of all blocks depend on the distance alone: one layer makes them.
        self.filters = nn.Linear(basis, interactions * 3 * features)
        self.messages = nn.ModuleList(
            nn.Sequential(nn.Linear(features, features), nn.SiLU(), nn.Linear(features, 3 * features))
            for _ in range(interactions)
        )
        self.updates = nn.ModuleList(Update(features, last=k == interactions - 1) for k in range(interactions))
        self.readout = nn.Sequential(nn.Linear(features, features // 2), nn.SiLU(), nn.Linear(features // 2, 1))
        self.register_buffer("orders", torch.arange(1, basis + 1) * (math.pi / self.cutoff), persistent=False)
        self.reset()

    def atomic_energies(self, system: System, neighbors: Neighbors) -> Float[Tensor, " atoms"]:
        """Returns what each atom adds to the energy, before scale and reference."""
        # A list of fixed capacity keeps both directions of a pair, so that each counts half.
        twice = neighbors.worst is not None and not neighbors.half
        neighbors = neighbors if twice else halved(neighbors)
        i, j = neighbors.centre, neighbors.neighbor
        vectors = displacements(system, neighbors)
        distances = torch.linalg.vector_norm(vectors, dim=-1)
        units = vectors / distances[:, None]
        radial = self.expand(distances, 0.5 if twice else 1.0)
        kinds = self.kinds(system)
        s: Tensor = self.embedding(kinds)
        v = s.new_zeros(0, 3, self.features)  # there are no vectors yet
        pass_on = self._choose(vectors)
        for number, (message, update) in enumerate(zip(self.messages, self.updates, strict=True)):
            # At first what atoms send depends on their element alone.
            phi = message(s) if number else message(self.embedding.weight).index_select(0, kinds)
            received, moved = pass_on(phi.unflatten(1, (3, -1)), v, self.filters_of(number, radial), units, i, j)
            s, v = update(s + received, v + moved if number else moved)
        return self.readout(s)[:, 0]

    def _choose(self, vectors: Tensor):  # type: ignore[no-untyped-def]
        plain = type(vectors) is Tensor and not torch.compiler.is_compiling()
        available = {
            "reference": lambda: None,
            "numba": lambda: None if plain and vectors.dtype in COMPILED else "compiled messages want plain numbers",
        }
        engine, _ = choose_engine(self.engine, device=vectors.device, available=available)
        return messages if engine == "reference" else compiled_messages

    def compiled(self, dtype: torch.dtype) -> Potential:
        """Returns its form for use on a CPU."""
        from sponge.potentials.painn_compiled import CompiledPaiNN

        return CompiledPaiNN(self, dtype=dtype)

    def expand(self, distances: Float[Tensor, " pairs"], weight: float = 1.0) -> Float[Tensor, "pairs functions"]:
        """Returns sin(n pi d / cutoff) / d for each n, and 1, times the cosine cutoff [Schutt2021, eq. 8]."""
        envelope = weight * cosine_cutoff(distances, self.cutoff)[:, None]
        waves = torch.sin(distances[:, None] * self.orders) * (envelope / distances[:, None])
        return torch.cat((waves, envelope), dim=1)

    def filters_of(self, number: int, radial: Float[Tensor, "pairs functions"]) -> Float[Tensor, "pairs 3 features"]:
        """Returns a block's filters, for scalars, vectors and directions: the last radial function carries the bias."""
        own = slice(3 * number * self.features, 3 * (number + 1) * self.features)
        weight = torch.cat((self.filters.weight[own], self.filters.bias[own, None]), dim=1)
        return (radial @ weight.mT).unflatten(1, (3, -1))


class Update(nn.Module):
    """Scalars and vectors of an atom mix through norms and products of vectors [Schutt2021, eq. 9 and 10, fig. 2c]."""

    def __init__(self, features: int, *, last: bool) -> None:
        super().__init__()
        self.features, self.last = features, last
        self.mix = nn.Linear(features, 2 * features, bias=False)
        self.inner = nn.Linear(2 * features, features)
        self.outer = nn.Linear(features, 3 * features)

    def forward(
        self, s: Float[Tensor, "atoms features"], v: Float[Tensor, "atoms 3 features"]
    ) -> tuple[Float[Tensor, "atoms features"], Float[Tensor, "atoms 3 features"]]:
        u, w = self.mix(v).split(self.features, dim=2)
        norm = torch.sqrt(w.square().sum(1) + SMALLEST)
        hidden = silu(self.inner(torch.cat((s, norm), dim=1)))
        skipped = self.features if self.last else 0
        known = linear(hidden, self.outer.weight[skipped:], self.outer.bias[skipped:]).split(self.features, dim=1)
        s = torch.addcmul(s + known[-1], known[-2], (u * w).sum(1))
        return s, v if self.last else torch.addcmul(v, known[0][:, None], u)
