"""Prepared systems of the hub: a topology and its coordinates behind one name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mindsci.errors import InputError
from mindsci.hub import DatasetCard
from sponge.builders.amber import from_amber
from sponge.builders.gromacs import from_gromacs
from sponge.system import System
from sponge.topology import Topology


def read(paths: dict[str, Path], card: DatasetCard, **options: Any) -> tuple[System, Topology]:
    """Returns the system and topology of a card; the options are those of `from_amber` or `from_gromacs`.

    The card's options name the files, prmtop and inpcrd or top and gro, and may give the edges of a rectangular `box`
    [angstrom]. Raises InputError where they do not.
    """
    names = card.options
    if "box" in names and options.get("cell") is None and options.get("periodic", True):
        options["cell"] = torch.diag(torch.tensor(names["box"], dtype=torch.float64))
    if "prmtop" in names:
        return from_amber(paths[names["prmtop"]], paths[names["inpcrd"]], **options)
    if "top" in names:
        return from_gromacs(paths[names["top"]], paths[names["gro"]], **options)
    raise InputError(f"the card '{card.name}' names no prmtop or top in its options; is it one of prepared systems?")
