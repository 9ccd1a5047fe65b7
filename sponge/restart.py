"""What must be kept of a batch so that it goes on to the same bits: the state, and where its list was made."""

from __future__ import annotations

from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from sponge.dynamics import Forces
from sponge.system import System

ORIGIN, ORIGIN_CELL = "neighbors.origin", "neighbors.origin_cell"


def kept(system: System) -> dict[str, Tensor]:
    """Returns the tensors to store, by name.

    A neighbour list is a function of the positions that it was made at; these are stored in its place.
    """
    found = dict(tree.named_leaves(tree.replace(system, neighbors=None, deviation=None)))
    held = system.neighbors
    if held is not None and held.origin is not None:
        found[ORIGIN] = held.origin
        # The test of the skin tells a cell that never changed by its being the same object.
        if held.origin_cell is not system.cell:
            found[ORIGIN_CELL] = held.origin_cell
    return found


def restored(start: System, tensors: dict[str, Tensor], forces: Forces) -> System:
    """Returns the batch that was kept; `start` is the batch as the case builds it.

    Raises InputError where the tensors are those of another batch.
    """
    device = start.positions.device
    given = {name: tensor.to(device) for name, tensor in tensors.items()}
    auxiliary = {name.partition(".")[2]: given[name] for name in given if name.startswith("auxiliary.")}
    optional = {name: given.get(name) for name in ("virial", "pace", "held", "slow_forces")}
    fields = {
        name: given[name]
        for name, _ in tree.named_leaves(tree.replace(start, neighbors=None, deviation=None))
        if name in given
    }
    for name, value in fields.items():
        if "." not in name and value.shape != getattr(start, name).shape:
            raise InputError(f"the restart holds another system: its {name} have shape {list(value.shape)}")
    plain = {name: value for name, value in fields.items() if "." not in name}
    system = tree.replace(start, **(plain | optional), auxiliary=auxiliary, neighbors=None, deviation=None)
    if ORIGIN not in given or forces.search is None:
        return forces.listed(system)
    then = tree.replace(system, positions=given[ORIGIN], cell=given.get(ORIGIN_CELL, system.cell))
    return tree.replace(system, neighbors=forces.search.build(then))
