"""What a training measures: weighted means over batches, a table of them on disk, and their picture."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.files import writing
from mindsci.train.parallel import Group


class Means:
    """Weighted means of the loss and the metrics; sums stay on the device, in double precision."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._sums: Tensor | None = None
        self._weight = 0.0

    def add(self, loss: Float[Tensor, ""], metrics: dict[str, Tensor], weight: float) -> None:
        """Adds the means of one batch; a batch of weight 0 adds nothing."""
        values = {"loss": loss} | metrics
        sums = torch.stack([torch.as_tensor(value, device=loss.device).detach().double() for value in values.values()])
        sums = sums * weight if weight else torch.zeros_like(sums)
        self.names = list(values)
        self._sums = sums if self._sums is None else self._sums + sums
        self._weight += weight

    def averages(self, group: Group) -> dict[str, float]:
        """Returns the means over everything that any process added; each process must call it."""
        if self._sums is None:
            return {}
        total = group.sum(torch.cat([self._sums.cpu(), torch.tensor([self._weight], dtype=torch.float64)]))
        return dict(zip(self.names, (total[:-1] / total[-1]).tolist(), strict=True))

    def state_dict(self, group: Group) -> dict[str, Any]:
        """Returns the sums of all processes as plain numbers; each process must call it."""
        if self._sums is None:
            return {}
        share = group.parts / group.world  # processes of the same data add the same
        return {
            "names": self.names,
            "sums": (share * group.sum(self._sums)).tolist(),
            "weight": share * float(group.sum(torch.tensor(self._weight, dtype=torch.float64))),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], group: Group, device: torch.device) -> Means:
        """Returns the means of a checkpoint; the first process alone holds what all had added."""
        means = cls()
        if state:
            share = group.world / group.parts if group.writes else 0.0
            means.names = list(state["names"])
            means._sums = torch.tensor(state["sums"], dtype=torch.float64, device=device) * share
            means._weight = state["weight"] * share
        return means


class MetricsTable:
    """metrics.csv: a row for each logged step of a split. Rows after a checkpoint are cut when it is resumed."""

    first_columns = ("step", "split", "learning_rate", "loss")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns = list(self.first_columns)
        self.rows: list[dict[str, Any]] = []

    def start(self, step: int) -> None:
        """Keeps what an earlier part of the run wrote up to a step, and writes the file anew."""
        if step and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as lines:
                stored = list(csv.DictReader(lines))
            self.rows = [row for row in map(_numbers, stored) if "split" in row and row["step"] <= step]
            self.columns = list(dict.fromkeys([*self.first_columns, *(name for row in self.rows for name in row)]))
        self._write_all()

    def add(self, row: dict[str, Any]) -> None:
        """Appends one row; a metric not met before makes a new column."""
        self.rows.append(row)
        new = [name for name in row if name not in self.columns]
        if new:
            self.columns += new
            self._write_all()
            return
        with self.path.open("a", newline="", encoding="utf-8") as table:
            table.write(self._text([row]))
            table.flush()
            os.fsync(table.fileno())

    def _write_all(self) -> None:
        with writing(self.path) as temporary:
            temporary.write_text(",".join(self.columns) + "\n" + self._text(self.rows), encoding="utf-8")

    def _text(self, rows: list[dict[str, Any]]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self.columns, restval="", lineterminator="\n").writerows(rows)
        return text.getvalue()

    def plot(self, path: Path) -> None:
        """Draws each metric against the step, training and validation in one picture."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        names = [name for name in self.columns if name not in ("step", "split", "learning_rate")][:6]
        figure = Figure(figsize=(6.4, 2.6 * len(names)), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, name in zip(figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0], names, strict=True):
            for split in ("train", "validation"):
                points = [(row["step"], row[name]) for row in self.rows if row["split"] == split and name in row]
                if points:
                    axes.plot(*zip(*points, strict=True), label=split, marker="." if split == "validation" else None)
            if all(row.get(name, 1.0) > 0 for row in self.rows):
                axes.set_yscale("log")
            axes.set_ylabel(name)
            axes.grid(alpha=0.3)
        axes.set_xlabel("step")
        axes.legend()
        with writing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=110)


def _numbers(row: dict[str, str | None]) -> dict[str, Any]:
    """A row as numbers; nothing for one that was cut off while it was written."""
    try:
        return {
            name: int(text) if name == "step" else text if name == "split" else float(text)
            for name, text in row.items()
            if text
        }
    except (TypeError, ValueError):
        return {}
