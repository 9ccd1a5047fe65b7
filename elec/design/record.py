"""What a search has seen: every value, the best parameters, and for L-BFGS-B each gradient; whole files only."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from safetensors.torch import load_file, save_file
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from mindsci.files import writing

VALUES, BEST = "values.json", "best_parameters.safetensors"


class Record:
    """The evaluations of one search in a folder.

    Raises InputError for a folder that holds another search when it is not to be resumed.
    """

    def __init__(self, folder: Path, start: Any, *, resuming: bool = False) -> None:
        self.folder, self.start = folder, start
        self.values: list[float] = []
        self.best: Any = None
        self.best_value = math.inf
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / VALUES).exists():
            if not resuming:
                raise InputError(f"{folder} holds another search; resume it, or choose another folder")
            self._load()

    def add(
        self,
        value: float,
        leaves: Sequence[Tensor],
        *,
        flat: ndarray | None = None,
        gradient: ndarray | None = None,
    ) -> None:
        """Keeps an evaluation: its value, its parameters where they are the best, its gradient where one is given."""
        if self.best is None and not math.isfinite(value):
            raise InputError(f"the objective is {value} at the start; begin where it is a finite number")
        if flat is not None and gradient is not None:
            with writing(self._file(len(self.values))) as temporary:
                np.savez(temporary, value=value, parameters=flat, gradient=gradient)
        self.values.append(value)
        if value < self.best_value or self.best is None:
            self.best_value = value
            self.best = tree.with_leaves(self.start, [leaf.clone() for leaf in leaves])
            with writing(self.folder / BEST) as temporary:
                save_file({name: leaf.cpu().contiguous() for name, leaf in self._named()}, temporary)
        with writing(self.folder / VALUES) as temporary:
            temporary.write_text(json.dumps({"values": self.values, "best": self.best_value}))

    def answer(self, index: int, flat: ndarray) -> tuple[float, ndarray] | None:
        """Returns the kept value and gradient of an evaluation, or None where it has still to be made.

        Raises InputError where the kept one was made at other parameters: it belongs to another search.
        """
        path = self._file(index)
        if index >= len(self.values) or not path.exists():
            del self.values[index:]
            return None
        with np.load(path) as kept:
            if not np.array_equal(kept["parameters"], flat):
                raise InputError(
                    f"evaluation {index} in {self.folder} was made at other parameters; resume with the same start, "
                    "bounds and objective, or choose another folder"
                )
            return float(kept["value"]), kept["gradient"]

    def keep(self, count: int) -> None:
        """Forgets the values after the first `count`: they are made again, and are the same."""
        del self.values[count:]

    def _file(self, index: int) -> Path:
        return self.folder / f"evaluation_{index:05d}.npz"

    def _named(self) -> list[tuple[str, Tensor]]:
        return [(name or "parameter", leaf) for name, leaf in tree.named_leaves(self.best)]

    def _load(self) -> None:
        kept = json.loads((self.folder / VALUES).read_text())
        self.values, self.best_value = list(kept["values"]), float(kept["best"])
        stored = load_file(self.folder / BEST)
        names = [name or "parameter" for name, _ in tree.named_leaves(self.start)]
        if sorted(stored) != sorted(names):
            raise InputError(f"{self.folder} holds the parameters {sorted(stored)}, not {sorted(names)}")
        leaves = [
            stored[name].to(device=leaf.device, dtype=leaf.dtype)
            for name, leaf in zip(names, tree.leaves(self.start), strict=True)
        ]
        self.best = tree.with_leaves(self.start, leaves)
