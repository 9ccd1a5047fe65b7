"""Writes the CAD files of the inverted-F antenna: a 40 x 40 x 0.787 mm board with a printed antenna on it.

The dimensions, in millimetres, are those of MindElec's example AD_FDTD (mindspore-ai/mindscience, Apache-2.0): x and y
in the plane of the board, z through it, the ground on z = 0 and the strips on z = 0.787.

Run it as `python make_inverted_f.py [FOLDER]`; without a folder it renews docs/examples/geometry.
"""

from __future__ import annotations

import sys
from pathlib import Path

from elec.geometry import Sheet, box, sheet, sheets, write_step, write_stl

MILLIMETRE = 1e-3
THICKNESS = 0.787

GROUND = ((0.0, 16.0), (0.0, 40.0))
STRIPS = {
    "feed strip": ((0.0, 28.4), (24.0, 26.4)),
    "shorted leg": ((16.0, 28.4), (30.0, 32.4)),
    "upper arm": ((26.0, 28.4), (8.4, 32.4)),
    "lower arm": ((20.8, 23.2), (16.0, 32.4)),
}
SHORT_AT = 16.0
SHORT = (30.0, 32.4)


def rectangle(first: tuple[float, float], second: tuple[float, float], coordinate: float, axis: str) -> Sheet:
    """Returns a rectangular sheet from two spans and its plane, all in [mm]."""
    (a, b), (c, d) = first, second
    corners = [(a, c), (b, c), (b, d), (a, d)]
    return sheet([(u * MILLIMETRE, v * MILLIMETRE) for u, v in corners], coordinate * MILLIMETRE, axis=axis)


def write(folder: Path) -> None:
    """Writes board.step, ground.stl, antenna.stl and short.stl, in millimetres, into a folder."""
    board = box((0.0, 0.0, 0.0), (40 * MILLIMETRE, 40 * MILLIMETRE, THICKNESS * MILLIMETRE))
    strips = [rectangle(*spans, coordinate=THICKNESS, axis="z") for spans in STRIPS.values()]
    # A plane across x is spanned by y and z.
    wall = rectangle(SHORT, (0.0, THICKNESS), coordinate=SHORT_AT, axis="x")
    write_step(folder / "board.step", board.part("board", material="board"))
    write_stl(folder / "ground.stl", sheets("ground", [rectangle(*GROUND, coordinate=0.0, axis="z")]))
    write_stl(folder / "antenna.stl", sheets("antenna", strips))
    write_stl(folder / "short.stl", sheets("short", [wall]))


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "geometry")
