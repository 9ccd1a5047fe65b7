"""Frames whose energies are in another unit than those beside them: ratios of units are known numbers."""

from __future__ import annotations

import torch

from mindsci.errors import InputError
from sponge.data.frames import Frames

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


def check_units(frames: Frames) -> None:
    """Raises InputError, naming file and frame, where an energy is a ratio of two units off those of like frames.

    Frames of one composition have total energies that differ by a few percent at most; where half of them differ from
    the median by more than 5 % nothing is judged (energies of formation may be near zero).
    """
    _, counts = frames.compositions()
    kinds = torch.unique(counts, dim=0, return_inverse=True)[1]
    for kind in range(int(kinds.max()) + 1):
        rows = (kinds == kind).nonzero().flatten()
        rows = rows[frames.energy[rows].isfinite()]
        if len(rows) < 2:
            continue
        energy = frames.energy[rows]
        median = energy.median()
        if not float((energy - median).abs().median()) < SPREAD * abs(float(median)):
            continue
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
