"""The table `[system]` of a case: what is simulated, and where it comes from."""

from __future__ import annotations

from typing import Any, Self

import torch
from pydantic import Field, model_validator

from mindsci import hub
from mindsci.config import InputFile, Quantities, Table
from sponge.builders import from_amber, from_file, from_gromacs, from_smiles
from sponge.system import System
from sponge.topology import Topology

SOURCES = ("smiles", "file", "prmtop", "top", "dataset")


class SystemTable(Table):
    """`[system]`: what is simulated, by SMILES string, from a structure file, or with the topology of a force field."""

    smiles: str | None = None
    file: InputFile | None = None
    prmtop: InputFile | None = None
    """Amber's topology; with its coordinates, inpcrd"""
    inpcrd: InputFile | None = None
    """inpcrd or rst7, text or NetCDF"""
    top: InputFile | None = None
    """GROMACS's topology; with its coordinates, gro"""
    gro: InputFile | None = None
    include: list[InputFile] = []
    """folders where files that `top` includes are looked for"""
    defines: list[str] = []
    """macros of `top`, such as "FLEXIBLE" """
    dataset: str | None = None
    """a card of prepared systems: `mindsci datasets list`"""
    periodic: bool = True
    """false leaves out the box that the coordinates of a topology have"""
    box: Quantities("angstrom") | None = None
    """three edges of a rectangular box, in place of that of the coordinates of a topology"""
    replicas: int = Field(default=1, ge=1)
    """copies that run side by side as one batch, each with random numbers of its own"""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(getattr(self, source) is not None for source in SOURCES) != 1:
            raise ValueError(
                'give one of smiles = "CCO", file = "structure.pdb", prmtop = "x.prmtop" (with inpcrd), top = "x.top" '
                '(with gro) and dataset = "dhfr_amber"'
            )
        for topology, coordinates in (("prmtop", "inpcrd"), ("top", "gro")):
            if (getattr(self, topology) is None) != (getattr(self, coordinates) is None):
                raise ValueError(f"{topology} and {coordinates} belong together; give both")
        box = self.box
        if box is not None and not (isinstance(box, tuple) and len(box) == 3 and min(box) > 0 and self.has_topology):
            raise ValueError(
                'box is three positive edges of a system with a topology: ["30 angstrom", "30 angstrom", "30 angstrom"]'
            )
        if self.top is None and (self.include or self.defines):
            raise ValueError("include and defines are those of GROMACS's top; take them out, or give top")
        return self

    @property
    def has_topology(self) -> bool:
        """Whether the source brings the terms of a force field."""
        return self.smiles is None and self.file is None

    def load(self, *, seed: int, dtype: torch.dtype, **rigid: Any) -> tuple[System, Topology | None]:
        """Returns one system, and its topology where the source has one; rigid: what the readers hold rigid."""
        if self.smiles is not None:
            return from_smiles(self.smiles, seed=seed, dtype=dtype), None
        if self.file is not None:
            return from_file(self.file, dtype=dtype), None
        options = {"periodic": self.periodic, "dtype": dtype, **rigid}
        if isinstance(self.box, tuple):
            options["cell"] = torch.diag(torch.tensor(self.box, dtype=torch.float64))
        if self.dataset is not None:
            found: tuple[System, Topology] = hub.load_dataset(self.dataset, **options)
            return found
        if self.prmtop is not None:
            return from_amber(self.prmtop, self.inpcrd, **options)  # type: ignore[arg-type]
        return from_gromacs(self.top, self.gro, include=self.include, defines=self.defines, **options)  # type: ignore[arg-type]
