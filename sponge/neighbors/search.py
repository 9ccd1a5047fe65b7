"""Making neighbour lists, and making them again when the atoms have moved too far."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from mindsci.kernels import choose_engine
from mindsci.tree import Tree
from sponge import cells
from sponge.neighbors import cpu, reference
from sponge.neighbors import device as device_engine
from sponge.neighbors.lists import Neighbors, all_pairs
from sponge.system import System, name_atom

MAX_IMAGES = 1_000_000
"""images of a cell within the cutoff; more is a mistake in a cell or a cutoff, and would fill the memory"""


class NeighborSearch(Tree):
    """How the list of a system is made and kept: every pair closer than `cutoff`, whatever the atoms do.

    A list is made for cutoff + skin and serves until an atom has moved by half the skin, or the cell has deformed as
    much. Small open systems list all pairs once and for all, where `constant` allows.
    """

    cutoff: float
    """[angstrom]"""
    half: bool = False
    skin: float = 0.0
    """[angstrom]"""
    engine: str = "auto"
    """reference, numba or triton; auto takes the fastest on the device of the atoms"""
    minimum_image: bool = False
    """refuse a cell in which an atom could meet two images of another; otherwise all images are in the list"""
    constant: int = 0
    """atoms in the largest system up to which open systems list all pairs"""

    def __post_init__(self) -> None:
        if not self.cutoff > 0 or not self.skin >= 0:
            raise InputError(
                f"cutoff = {self.cutoff} and skin = {self.skin} angstrom; a cutoff is positive, a skin not negative"
            )

    def build(self, system: System) -> Neighbors:
        """Returns the list for the present positions.

        Raises InputError for positions that are not finite, and for a cell that is too small; it names the system.
        """
        with torch.no_grad():
            open_systems = not bool(system.periodic.any())
            if self.constant and open_systems and int(system.atom_counts.max()) <= self.constant:
                return all_pairs(system, half=self.half)
            self.check(system)
            return self._search(system, open_systems)

    def refresh(self, system: System) -> System:
        """Returns the system with a list that serves at its positions: the one that it has, or a new one."""
        held = system.neighbors
        if isinstance(held, Neighbors) and self._fits(system, held):
            if held.origin is None:
                return system
            if held.worst is not None:
                return tree.replace(system, neighbors=_noted(system, held))
            if held.skin > 0 and bool(used_skin(system, held) < 1.0):
                return system
        return tree.replace(system, neighbors=self.build(system))

    def build_within(self, system: System, capacity: int, worst: Tensor | None = None) -> Neighbors:
        """Returns a list with room for so many edges; on a GPU nothing waits for the host, and nothing is checked.

        Such a list is not made anew by `refresh`, which notes instead how much of its skin was used. `worst`: of the
        list before, which this one goes on from. Above 1, in the end, a pair may have been missed: see `Resident`.
        """
        with torch.no_grad():
            held = system.neighbors
            open_systems = not bool(system.periodic.any()) if held is None else held.shift is None
            found = self._search(system, open_systems, capacity)
            return found if worst is None else tree.replace(found, worst=torch.maximum(worst, found.worst))

    def _search(self, system: System, open_systems: bool, capacity: int = 0) -> Neighbors:
        rows, centre, neighbor, shift = self._edges(system, shifts=not open_systems, capacity=capacity)
        worst = None
        if capacity:
            worst = torch.stack([rows[-1].new_zeros(()), rows[-1]]).double() / capacity
        return Neighbors(
            rows=rows,
            centre=centre,
            neighbor=neighbor,
            shift=shift,
            half=self.half,
            cutoff=self.cutoff,
            skin=self.skin,
            origin=system.positions.detach(),
            origin_cell=system.cell.detach() if system.cell.requires_grad else system.cell,
            periodic=system.periodic,
            worst=worst,
        )

    def _edges(self, system: System, *, shifts: bool, capacity: int) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Rows, centre, neighbour and shift from the engine."""
        device, reach = system.positions.device, self.cutoff + self.skin
        available = {
            "numba": lambda: None if device.type == "cpu" else f"it runs on the CPU, not on {device.type}",
            "triton": lambda: device_engine.cannot(device),
            "reference": lambda: None,
        }
        engine, _ = choose_engine(self.engine, device=device, available=available)
        if engine == "triton":
            return device_engine.edges(system, reach, half=self.half, shifts=shifts, capacity=capacity)
        if engine == "numba":
            found = cpu.edges(system, reach, half=self.half, shifts=shifts)
        else:
            centre, neighbor, shift = reference.edges(system, reach, half=self.half)
            rows = torch.searchsorted(centre, torch.arange(system.n_atoms + 1, device=device))
            found = rows, centre, neighbor, shift if shifts else None
        if not capacity:
            return found
        rows, *arrays = found
        return rows, *(None if array is None else _of_length(array, capacity) for array in arrays)

    def _fits(self, system: System, held: Neighbors) -> bool:
        """Whether a list was made for such a system and such a cutoff; where its atoms were is not looked at."""
        same = held.half == self.half and held.cutoff >= self.cutoff and len(held.rows) == system.n_atoms + 1
        if not same or held.periodic is None or held.periodic is system.periodic:
            return same
        return held.periodic.shape == system.periodic.shape and torch.equal(held.periodic, system.periodic)

    def check(self, system: System) -> None:
        """Raises InputError for positions that are not finite, and for a cell that is too small."""
        bad = (~system.positions.isfinite().all(-1)).nonzero().flatten()
        if len(bad):
            raise InputError(
                f"{name_atom(system, int(bad[0]))} has a position that is not finite ({len(bad)} atoms do); "
                "a shorter time step or a relaxed start may help"
            )
        reach = self.cutoff + self.skin
        cell = cells.completed_cell(system.cell.detach().double(), system.periodic)
        heights = torch.where(system.periodic, cells.heights(cell), float("inf"))
        if self.minimum_image and bool((heights < 2.0 * reach).any()):
            which, axis = (heights < 2.0 * reach).nonzero()[0].tolist()
            raise InputError(
                f"the cell of system {which} is {float(heights[which, axis]):.4g} angstrom across along its vector "
                f"{axis}, below twice the cutoff and skin, {2 * reach:.4g}; use a larger cell or a shorter cutoff"
            )
        images = (2.0 * torch.floor(reach / heights) + 3.0).prod(-1)
        if bool((images > MAX_IMAGES).any()):
            which = int(images.argmax())
            raise InputError(
                f"the cell of system {which} has {float(images[which]):.2g} images within {reach:g} angstrom; "
                "is its unit angstrom?"
            )


def _noted(system: System, held: Neighbors) -> Neighbors:
    """The list of fixed capacity, with the share of its skin that is used at these positions."""
    used = used_skin(system, held).double().nan_to_num(nan=float("inf"))
    return tree.replace(held, worst=torch.maximum(held.worst, torch.stack([used, torch.zeros_like(used)])))


def _of_length(array: Tensor, length: int) -> Tensor:
    """The array cut, or filled up with zeros."""
    filled = array.new_zeros((length, *array.shape[1:]))
    filled[: len(array)] = array[:length]
    return filled


def used_skin(system: System, held: Neighbors) -> Float[Tensor, ""]:
    """Returns the share of the skin that motion has used up since the list was made; at 1 it may miss a pair.

    With positions x = x0 A + d, where A is the change of the cell, a pair that was farther apart than
    cutoff + skin is now farther than (1 - |A - 1|) (cutoff + skin) - 2 max |d|.
    """
    with torch.no_grad():
        origin, moved = held.origin, None
        loss = system.positions.new_zeros(())
        if held.origin_cell is not system.cell:
            before, now = (cells.completed_cell(c.double(), system.periodic) for c in (held.origin_cell, system.cell))
            change = cells.inverse(before) @ now
            deviation = torch.linalg.matrix_norm(change - torch.eye(3).to(change)).max()
            loss = (deviation * (held.cutoff + held.skin)).to(loss)
            moved = torch.einsum("ak,akd->ad", origin.double(), change[system.system]).to(origin)
        squared = ((system.positions - (origin if moved is None else moved)) ** 2).sum(-1).max()
        return (2.0 * squared.sqrt() + loss) / held.skin


def neighbor_list(
    system: System, cutoff: float, *, half: bool = False, engine: str = "auto", minimum_image: bool = False
) -> Neighbors:
    """Returns the pairs closer than the cutoff [angstrom], among all images of periodic systems, sorted by centre."""
    return NeighborSearch(cutoff=cutoff, half=half, engine=engine, minimum_image=minimum_image).build(system)
