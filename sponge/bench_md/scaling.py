"""How the cost of a step grows with the number of atoms: one thread, in processor time."""

from __future__ import annotations

from typing import Any

import numpy as np

SIZES = {"argon_sizes": (6, 10, 20, 30, 42), "water_sizes": (1, 2, 3, 4, 5)}
"""cells of the crystal, or boxes of water, along each axis"""
WORK = 2_000_000
"""atoms times steps of a run, or `LEAST` steps"""
LEAST = 12


def replicated(held: dict[str, Any], times: int) -> dict[str, Any]:
    """Returns the arrays of `cases` of times^3 boxes, side by side."""
    n, copies = len(held["positions"]), times**3
    shifts = np.stack(np.meshgrid(*[np.arange(times)] * 3, indexing="ij"), -1).reshape(-1, 1, 3) @ held["cell"]
    found = dict(held)
    found["positions"] = (held["positions"] + shifts).reshape(-1, 3)
    found["cell"] = times * held["cell"]
    found["velocities"] = np.tile(held["velocities"], (copies, 1))
    for name in ("masses", "numbers", "charges", "sigma", "epsilon"):
        found[name] = np.tile(held[name], copies)
    atoms = {"bonds": 2, "angles": 3, "torsions": 4, "pairs14": 2, "exclusions": 2, "constraints": 2, "waters": 3}
    for name, count in atoms.items():
        if name in held:
            rows = np.tile(held[name], (copies, 1))
            rows[:, :count] += n * np.repeat(np.arange(copies), len(held[name]))[:, None].astype(rows.dtype)
            found[name] = rows
    return {name: value for name, value in found.items() if name != "forces"}


def steps_of(n_atoms: int, effort: float) -> int:
    """Returns the steps of a run."""
    return max(LEAST, round(effort * WORK / n_atoms))


def fitted(atoms: list[int], seconds: list[float]) -> dict[str, float]:
    """Returns the exponent of cost ~ N^exponent, and the line a + b N of least relative squares, with its error."""
    n, cost = np.array(atoms, dtype=float), np.array(seconds)
    exponent = float(np.polyfit(np.log(n), np.log(cost), 1)[0])
    columns = np.stack([np.ones_like(n), n], 1) / cost[:, None]
    (start, slope), *_ = np.linalg.lstsq(columns, np.ones_like(n), rcond=None)
    off = np.abs((start + slope * n) / cost - 1.0).max()
    found = {"exponent": exponent, "ns an atom": 1e9 * slope, "start [us]": 1e6 * start, "off the line": float(off)}
    return found | {f"{count} atoms [ms]": 1e3 * float(one) for count, one in zip(atoms, seconds, strict=True)}
