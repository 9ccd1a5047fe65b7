"""Other solvers on the benchmark's box, each alone, by scripts that print its speed.

A script is `<name>_box.py CELLS STEPS REPEATS` and prints "median X Mcells/s". openEMS reads a file that its script
writes, and prints its own speed. Meep and openEMS are those of the system, fdtdx and gprMax live in environments of
their own.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from mindsci.errors import InputError

PEERS = ("Meep", "openEMS", "fdtdx", "gprMax")
# Steps that each peer is timed over at 200^3, about two seconds of work.
STEPS = {"Meep": 10, "openEMS": 50, "fdtdx": 20, "gprMax": 40}
SECONDS = 900
# The administrator of a container starts MPI too.
ENVIRONMENT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def peer_rate(
    name: str, *, scripts: Path, environments: Path, system_python: str, size: int, repeats: int, threads: int
) -> float | None:
    """Returns a peer's median million cells a second, or None where it is not installed.

    Raises InputError where it is, and fails.
    """
    steps = STEPS[name]
    script = scripts / f"{name.lower()}_box.py"
    if not script.exists():
        raise InputError(f"--peers {scripts}: there is no {script.name}; name the folder of the peers' scripts")
    if name == "Meep":
        if not _imports(system_python, "meep") or shutil.which("mpirun") is None:
            return None
        command = ["mpirun", "-np", str(threads), system_python, str(script), str(size), str(steps), str(repeats)]
        return _median(name, _output(name, command))
    if name == "openEMS":
        if shutil.which("openEMS") is None or not _imports(system_python, "CSXCAD"):
            return None
        return _openems(script, system_python, size, steps, repeats, threads)
    python = environments / name.lower() / "bin" / "python"
    if not python.exists():
        return None
    command = [str(python), str(script), str(size), str(steps), str(repeats)]
    if name == "gprMax":
        command += ["--threads", str(threads)]
    return _median(name, _output(name, command))


def _openems(script: Path, python: str, size: int, steps: int, repeats: int, threads: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        _output("openEMS", [python, str(script), str(size), str(steps), f"{folder}/box.xml"])
        command = ["openEMS", "box.xml", "--engine=multithreaded", f"--numThreads={threads}", "--disable-dumps"]
        rates = []
        for _ in range(repeats):
            found = re.search(r"^Speed:\s*([\d.]+)\s*MCells/s", _output("openEMS", command, folder), re.M | re.I)
            if found is None:
                raise InputError("openEMS printed no line 'Speed: X MCells/s'; run it by hand to see why")
            rates.append(float(found.group(1)))
    return statistics.median(rates)


def _imports(python: str, module: str) -> bool:
    try:
        done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _output(name: str, command: list[str], folder: str | None = None) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=folder, env=os.environ | ENVIRONMENT, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"the peer {name} did not run: {error}") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise InputError(f"the peer {name} ended with status {done.returncode}: {last}")
    return done.stdout + done.stderr


def _median(name: str, output: str) -> float:
    found = re.search(r"median ([\d.]+) Mcells/s", output)
    if found is None:
        raise InputError(f"the peer {name} printed no 'median X Mcells/s': {output.strip().splitlines()[-1:]}")
    return float(found.group(1))
