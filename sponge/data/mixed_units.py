"""Frames in another unit of energy or length than those beside them: ratios of units are known numbers."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindsci.errors import InputError
from sponge.data.frames import Frames, spans

RATIOS = {
    27.211386: "hartree and eV",
    23.060548: "eV and kcal/mol",
    96.485332: "eV and kJ/mol",
    627.509474: "hartree and kcal/mol",
    2625.499639: "hartree and kJ/mol",
    4.184: "kcal/mol and kJ/mol",
    2.0: "hartree and rydberg",
    13.605693: "rydberg and eV",
}
CLOSE, SPREAD = 0.01, 0.05
LENGTHS = {1.889726: "bohr and angstrom", 10.0: "angstrom and nm", 18.89726: "bohr and nm"}
STRETCHED = 0.15
"""how far bonds of one molecule differ from frame to frame, where they do not break"""
AT_ONCE = 4096


def check_units(frames: Frames) -> None:
    """Raises InputError, naming file and frame, where energy or lengths are a ratio of two units off like frames."""
    _, counts = frames.compositions()
    kinds = torch.unique(counts, dim=0, return_inverse=True)[1]
    for kind in range(int(kinds.max()) + 1):
        rows = (kinds == kind).nonzero().flatten()
        _check_energies(frames, rows[frames.energy[rows].isfinite()])
        _check_lengths(frames, rows)


def _check_energies(frames: Frames, rows: Int[Tensor, " rows"]) -> None:
    """Looks at the energies of frames of one composition.

    They have total energies that differ by a few percent at most; where half of them differ from the median by more
    than 5 % nothing is judged (energies of formation may be near zero).
    """
    if len(rows) < 2:
        return
    energy = frames.energy[rows]
    median = energy.median()
    if not float((energy - median).abs().median()) < SPREAD * abs(float(median)):
        return
    share = (energy / median).clamp(min=1e-12)
    off = torch.maximum(share, 1.0 / share)
    for ratio, names in RATIOS.items():
        odd = ((off / ratio - 1.0).abs() < CLOSE).nonzero().flatten()
        if len(odd):
            first = int(rows[odd[0]])
            raise InputError(
                f"{frames.name(first)}, energy: {float(share[odd[0]]):.4g} times that of most frames of the same "
                f"atoms ({len(odd)} frames are): are {names} mixed? Convert those frames, or leave them out"
            )


def _check_lengths(frames: Frames, rows: Int[Tensor, " rows"]) -> None:
    """Looks at the distances between atoms that follow one another in frames of one composition.

    In another unit most of them are the ratio off the median over the frames; where atoms leave or pass one another
    only some are. Nothing is judged where half of the frames are not alike in this (isomers), nor with two frames or
    two atoms.
    """
    n_atoms = int(frames.count[rows[0]])
    if len(rows) < 3 or n_atoms < 3:
        return
    usual = _steps(frames, rows[:AT_ONCE], n_atoms).median(0).values
    quarters = torch.tensor([0.25, 0.75], dtype=usual.dtype)
    shares = [(_steps(frames, part, n_atoms) / usual).quantile(quarters, dim=1) for part in rows.split(AT_ONCE)]
    share = torch.cat(shares, dim=1)
    if int(_near(share, 1.0).sum()) * 2 < len(rows):
        return
    for ratio, names in LENGTHS.items():
        for factor in (ratio, 1.0 / ratio):
            odd = _near(share, factor).nonzero().flatten()
            if len(odd):
                raise InputError(
                    f"{frames.name(int(rows[odd[0]]))}, positions: distances are {factor:.4g} times those of most "
                    f"frames of the same atoms ({len(odd)} frames are): are {names} mixed? Convert those frames, "
                    "or leave them out"
                )


def _near(share: Float[Tensor, "quarters rows"], factor: float) -> Bool[Tensor, " rows"]:
    return ((share / factor - 1.0).abs() < STRETCHED).all(0)


def _steps(frames: Frames, rows: Int[Tensor, " rows"], n_atoms: int) -> Float[Tensor, "rows steps"]:
    positions = frames.positions[spans(frames.first[rows], frames.count[rows])].view(len(rows), n_atoms, 3)
    return torch.linalg.vector_norm(positions.diff(dim=1), dim=2).clamp(min=1e-3)
