"""Cases of molecular dynamics for tests: run, interrupted, and small systems as files of GROMACS."""

from __future__ import annotations

from pathlib import Path

import pytest
from rigid_systems import water_box

from mindsci import runs
from mindsci.config import load_case
from sponge import simulation

WATER_TOP = """
[ defaults ]
1 2 no 1.0 1.0
[ atomtypes ]
OW 8 15.9994 -0.8476 A 0.316555789 0.650169581
HW 1 1.008 0.4238 A 0.0 0.0
[ moleculetype ]
SOL 2
[ atoms ]
1 OW 1 SOL OW 1 -0.8476 15.9994
2 HW 1 SOL HW1 1 0.4238 1.008
3 HW 1 SOL HW2 1 0.4238 1.008
[ bonds ]
1 2 1 0.1 345000
1 3 1 0.1 345000
[ angles ]
2 1 3 1 109.47 383
[ system ]
water
[ molecules ]
SOL {count}
"""


def execute(case_file: Path, name: str, *overrides: str, **options: bool) -> Path:
    """Runs a case and returns its folder."""
    folder = case_file.parent / name
    runs.execute(load_case(case_file, list(overrides)), folder, quiet=True, **options)
    return folder


def interrupt(monkeypatch: pytest.MonkeyPatch, case_file: Path, name: str, stop_after: int, *options: str) -> Path:
    """Runs the case until it is asked to stop after so many chunks."""
    calls = 0

    def rollout_then_ctrl_c(*arguments: object, **others: object) -> object:
        nonlocal calls
        calls += 1
        if calls == stop_after:
            run.stop_requested = True
        return rollout(*arguments, **others)

    rollout = simulation.rollout
    monkeypatch.setattr(simulation, "rollout", rollout_then_ctrl_c)
    case = load_case(case_file, list(options))
    run = runs.Run(case, case_file.parent / name, quiet=True)
    with pytest.raises(runs.Interrupted):
        case.run(run)
    monkeypatch.undo()
    return run.folder


def write_water(folder: Path, side: int = 2, spacing: float = 3.105) -> None:
    """Writes water.top and water.gro: side^3 SPC/E waters in a cube, each turned at random, on a lattice."""
    system, _ = water_box(side, spacing=spacing)
    lines = ["water", f"{system.n_atoms}"]
    for atom, (x, y, z) in enumerate((0.1 * system.positions).tolist()):
        name = ("OW", "HW1", "HW2")[atom % 3]
        lines.append(f"{atom // 3 + 1:5d}{'SOL':5}{name:>5}{atom + 1:5d}{x:12.7f}{y:12.7f}{z:12.7f}")
    lines.append(" ".join(f"{0.1 * side * spacing:.7f}" for _ in range(3)))
    (folder / "water.gro").write_text("\n".join(lines) + "\n")
    (folder / "water.top").write_text(WATER_TOP.format(count=side**3))
