"""Several potentials as one: their mean, and how far their forces differ, which says where none was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindsci import plugins, tree
from mindsci.errors import InputError
from sponge.neighbors import Neighbors, halved
from sponge.potentials.potential import Evaluation, Potential
from sponge.system import System


class Ensemble(Potential):
    """The mean of several potentials for the same elements; `evaluate` also gives the deviation of their forces.

    Args:
        members: potentials, or records {"builder": ..., "config": {...}} of them, as model.toml and cards have them:
            so that an ensemble is saved and loaded as any other potential, with all weights in one file.

    Raises InputError for fewer than two members, or for members of different elements.
    """

    exportable = False  # its members are

    def __init__(self, *, members: Sequence[Potential | dict[str, Any]]) -> None:
        super().__init__()
        built = [one if isinstance(one, Potential) else _build(one) for one in members]
        known = {one.elements for one in built}
        if len(built) < 2 or len(known) > 1:
            raise InputError(
                f"an ensemble of {len(built)} members that know {len(known)} different sets of elements; give 2 "
                "or more potentials that were trained on the same elements"
            )
        self.members = nn.ModuleList(built)
        self.elements = built[0].elements
        self.cutoff = max(one.cutoff for one in built)
        self.closest = max(one.closest for one in built)
        self.half = all(one.half for one in built)

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        energies = [member(system, _list_for(member, neighbors)) for member in self.members]
        return torch.stack(energies).mean(0)

    def evaluate(
        self, system: System, neighbors: Neighbors, *, virial: bool = False, create_graph: bool = False
    ) -> Evaluation:
        """Returns means over the members, and the deviation of the force on each atom (`Evaluation.deviation`)."""
        found = [
            member.evaluate(system, _list_for(member, neighbors), virial=virial, create_graph=create_graph)
            for member in self.members
        ]
        forces = torch.stack([one.forces for one in found])
        return Evaluation(
            energy=torch.stack([one.energy for one in found]).mean(0),
            forces=forces.mean(0),
            virial=torch.stack([one.virial for one in found]).mean(0) if virial else None,
            deviation=(forces - forces.mean(0)).square().sum(-1).mean(0).sqrt(),
        )

    def for_use(
        self, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, engine: str = "auto"
    ) -> Potential:
        """Returns the ensemble of its members' fastest forms."""
        return Ensemble(members=[one.for_use(device=device, dtype=dtype, engine=engine) for one in self.members])


def _list_for(member: Potential, neighbors: Neighbors) -> Neighbors:
    return halved(neighbors) if member.half else neighbors


def _build(record: dict[str, Any]) -> Potential:
    if set(record) != {"builder", "config"}:
        raise InputError(f"a member of an ensemble has the keys builder and config, not {sorted(record)}")
    built = plugins.get("models", record["builder"])(**record["config"])
    if not isinstance(built, Potential):
        raise InputError(f"'{record['builder']}' builds a {type(built).__name__}, not a potential; choose another")
    return built


def uncertain_atoms(system: System, limit: float) -> list[tuple[int, float]]:
    """Returns (atom, deviation of its force [eV/angstrom]) of the atoms above a limit, the worst first."""
    if system.deviation is None:
        raise InputError("one potential has no uncertainty; use an ensemble of several (sponge.potentials.Ensemble)")
    above = (~(system.deviation <= limit)).nonzero().flatten().tolist()
    return sorted(((atom, float(system.deviation[atom])) for atom in above), key=lambda one: -one[1])


def without_deviation(system: System) -> System:
    """Returns the system with the largest deviations forgotten: those of the next forces are the first."""
    return tree.replace(system, deviation=None)
