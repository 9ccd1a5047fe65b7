"""What potentials share whose energy is a sum of what their atoms add."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mindsci.errors import InputError
from mindsci.kernels import choose_engine
from sponge.neighbors import Neighbors
from sponge.potentials.potential import Potential
from sponge.system import System

COMPILED = (torch.float32, torch.float64)
"""precisions of compiled passes"""


class AtomwisePotential(Potential):
    """Energy of a system: sum over its atoms of scale * atomic_energies + reference[element] [eV].

    A subclass writes `atomic_energies`, or `forward` with `sum_of_atoms` where it adds more; and `compiled` where it
    has a faster form for use on a CPU.

    Args:
        elements: atomic numbers or symbols that the potential is trained on.
    """

    elements: tuple[int, ...]
    reference: Tensor
    scale: Tensor
    element_index: Tensor

    def __init__(self, elements: Sequence[int | str]) -> None:
        super().__init__()
        self.elements = atomic_numbers_of(elements)
        index = torch.full((max(self.elements) + 1,), -1)
        index[list(self.elements)] = torch.arange(len(self.elements))
        self.register_buffer("element_index", index, persistent=False)
        self.register_buffer("reference", torch.zeros(len(self.elements), dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def reset(self) -> None:
        """Draws new weights: Xavier uniform for the dense layers, zero biases."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def set_scales(self, *, reference: Float[Tensor, " elements"], scale: float) -> None:
        """Sets the reference energy of each element, in the order of `elements`, and the scale [eV]."""
        self.reference.copy_(reference)
        self.scale.fill_(scale)

    def kinds(self, system: System) -> Int[Tensor, " atoms"]:
        """Returns the place of each atom's element in `elements`."""
        return self.element_index[system.atomic_numbers]

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        return self.sum_of_atoms(system, self.atomic_energies(system, neighbors))

    def atomic_energies(self, system: System, neighbors: Neighbors) -> Float[Tensor, " atoms"]:
        """Returns what each atom adds to the energy, before scale and reference."""
        raise NotImplementedError(f"{type(self).__name__} has no atomic_energies(system, neighbors)")

    @property
    def filter_cutoff(self) -> float:
        """Beyond it no function of a distance acts that a compiled form tabulates [angstrom]."""
        return self.cutoff

    def compiled(self, dtype: torch.dtype) -> Potential | None:
        """Returns its form for use on a CPU, which does not follow later changes; None where there is none."""
        return None

    def for_use(
        self, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, engine: str = "auto"
    ) -> Potential:
        """Returns itself on a device, or on a CPU its compiled form, which does not follow later changes."""
        available = {"reference": lambda: None}
        if type(self).compiled is not AtomwisePotential.compiled:
            available["numba"] = lambda: None if dtype in COMPILED else f"compiled passes know no {dtype}"
        if choose_engine(engine, device=torch.device(device), available=available)[0] == "numba":
            return self.compiled(dtype)
        return super().for_use(device=device, dtype=dtype)

    def sum_of_atoms(self, system: System, atomic: Float[Tensor, " atoms"]) -> Float[Tensor, " systems"]:
        """Returns the energy of each system [eV] from what its atoms add before scale and reference."""
        # Reference energies are thousands of eV: the sum is taken in float64 whatever the dtype of the model.
        energies = atomic.double() * self.scale.double() + self.reference.double()[self.kinds(system)]
        return system.sum_over_atoms(energies)


def atomic_numbers_of(elements: Sequence[int | str]) -> tuple[int, ...]:
    """Returns the atomic numbers of elements given by number or symbol, sorted, each once.

    Raises InputError for what is no element.
    """
    from ase.data import atomic_numbers, chemical_symbols

    unknown = [
        e for e in elements if (e not in atomic_numbers if isinstance(e, str) else not 0 < e < len(chemical_symbols))
    ]
    if unknown or not elements:
        raise InputError(f'elements = {list(elements)}: write chemical symbols such as ["H", "C", "O"]')
    return tuple(sorted({atomic_numbers[e] if isinstance(e, str) else int(e) for e in elements}))
