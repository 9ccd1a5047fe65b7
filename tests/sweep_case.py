"""A case that takes no time: a fall from a height, in chunks, with the faults that a sweep has to live with."""

from __future__ import annotations

import os
import signal
import time
from typing import Literal

import numpy
import torch

from mindsci import runs
from mindsci.config import Case, Quantity, Table
from mindsci.errors import InputError


class Body(Table):
    name: str
    mass: Quantity("kg") = "1 kg"


class Fall(Case):
    """Falls `height` in 40 steps. fault, of heights above 2 m: what goes wrong, at step 20 or later."""

    height: Quantity("m") = "1 m"
    bodies: list[Body] = [Body(name="stone"), Body(name="feather", mass="1 g")]
    place: str = "0, 0, 0 m"
    material: str = "air"
    rows: int = 5
    fault: Literal["none", "once", "always", "stop", "dies"] = "none"
    pause: Quantity("s") = "0 s"

    def run(self, run: runs.Run) -> None:
        note = run.folder.parent.parent / "runs.txt"
        first = run.load_restart()
        with note.open("a") as file:
            file.write(f"{run.folder.name} from {first[1]['step'] if first else 0}\n")
        for step, count in runs.chunks(first[1]["step"] if first else 0, 40, 10):
            time.sleep(self.pause)
            run.save_restart({"x": torch.zeros(1)}, {"step": step + count})
            if step + count >= 20 and self.height > 2.0:
                self.fail(run)
            if run.stop_requested:
                run.stop()
        speed = (2.0 * 9.81 * self.height) ** 0.5
        fraction = numpy.linspace(0.0, 1.0, self.rows)
        run.table("path.csv", {"fraction": fraction, "height [m]": self.height * (1.0 - fraction**2)})
        run.results(
            {
                "speed [m/s]": speed,
                "energies [J]": [speed**2 * body.mass / 2 for body in self.bodies],
                "in": self.material,
            }
        )

    def fail(self, run: runs.Run) -> None:
        tried = run.folder.parent / f"{run.folder.name}.tried"
        if self.fault == "always" or (self.fault in ("once", "dies", "stop") and not tried.exists()):
            tried.touch()
            if self.fault == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.fault == "stop":
                os.kill(os.getpid(), signal.SIGINT)
                return
            raise InputError("it hit a\nbird")
