"""LAMMPS's side of `mindsci bench md`: its input, and the rates that it prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mindsci import units


def write(folder: Path, name: str, held: dict[str, Any], steps: int, repeats: int) -> Path:
    """Writes a start and an input for a Lennard-Jones system of one kind; returns the input's path."""
    lines = [name, "", f"{len(held['positions'])} atoms", "1 atom types", ""]
    lines += [f"0.0 {held['cell'][k, k]:.9f} {a}lo {a}hi" for k, a in enumerate("xyz")]
    lines += ["", "Masses", "", f"1 {held['masses'][0]}", "", "Atoms", ""]
    lines += [f"{k + 1} 1 " + " ".join(f"{x:.9f}" for x in one) for k, one in enumerate(held["positions"])]
    lines += ["", "Velocities", ""]
    lines += [f"{k + 1} " + " ".join(f"{x:.12f}" for x in one) for k, one in enumerate(held["velocities"])]
    (folder / f"{name}.data").write_text("\n".join(lines) + "\n")
    epsilon, sigma, cutoff = held["epsilon"][0] / units.KCAL_PER_MOL_EV, held["sigma"][0], float(held["cutoff"])
    commands = [
        "units real",
        "atom_style atomic",
        f"read_data {name}.data",
        f"pair_style lj/cut {cutoff}",
        f"pair_coeff 1 1 {epsilon:.8f} {sigma}",
        "neighbor 1.0 bin",
        "neigh_modify every 5 delay 5 check yes",
        "timestep 2",
        "fix 1 all nve",
        "thermo 1000000",
        f"run {max(10, steps // 10)}",
        *[f"run {steps}"] * repeats,
    ]
    path = folder / f"{name}.in"
    path.write_text("\n".join(commands) + "\n")
    return path


def rates(printed: str) -> list[float]:
    """Returns steps per second of each run but the first."""
    return [float(one) for one in re.findall(r"([\d.]+) timesteps/s", printed)][1:]
