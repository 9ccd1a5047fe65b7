"""`mindsci sweep`: a case at many values of its keys."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def sweep(
    case: Annotated[Path, typer.Argument(help="Case file (TOML).")],
    over: Annotated[
        list[str], typer.Option(help='What varies: key="28:36:9 mm" (start:stop:count), key="1, 2 mm"; see the docs.')
    ],
    together: Annotated[bool, typer.Option("--zip", help="Values walk together; else every combination.")] = False,
    sample: Annotated[
        str | None, typer.Option(help="latin_hypercube:64, sobol:64, random:64 of ranges low:high.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A value of all points: table.key=value.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep; runs/<case name>_sweep unless given.")] = None,
    workers: Annotated[int, typer.Option(help="Points at a time; with --slurm: jobs.", min=1)] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler: its workers run the points.")
    ] = None,
    slurm: Annotated[
        str | None, typer.Option(help='Dask workers in Slurm jobs: "partition=cpu, cores=8, memory=16GB".')
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")] = "cpu",
    retries: Annotated[int, typer.Option(help="How often a point that fails is tried again.", min=0)] = 2,
    show: Annotated[
        list[str] | None, typer.Option(help='A result to draw, such as "resonance 1" or "s11/|S11|"; may be repeated.')
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep in its folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all points and print them; start nothing.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Run a case at many values of its keys, each point in its own folder, and gather the results."""
    from mindsci import sweep as sweeps
    from mindsci.cli import checked_device

    points = sweeps.plan(case, over, zipped=together, sample=sample, seed=seed, settings=settings or ())
    if dry_run:
        for number in range(len(points)):
            print(f"{number:6d}  {points.told(number)}")
        print(f"{len(points)} points ({points.how}); every case is valid, nothing was started")
        return
    folder = out or Path("runs") / f"{case.stem}_sweep"
    if scheduler is None and slurm is None:  # workers elsewhere may have what this machine has not
        checked_device(device)
    found = sweeps.sweep(
        points,
        folder,
        resume=resume,
        workers=workers,
        scheduler=scheduler,
        slurm=slurm,
        device=device,
        retries=retries,
        show=tuple(show or ()),
    )
    print(f"results are in {folder}: sweep.csv, sweep.h5, sweep.png")
    if not found.ok:
        print(f"{len(found.failed)} of {len(points)} points failed (failed.csv):", file=sys.stderr)
        for one in found.failed:
            print(f"  {one.number} ({points.told(one.number)}): {one.error}", file=sys.stderr)
        raise typer.Exit(1)
