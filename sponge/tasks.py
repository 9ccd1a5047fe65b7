"""Training a potential on energies, forces and stresses: what the trainer knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindsci import units
from mindsci.errors import InputError, nearest
from mindsci.train import Batches, Task
from sponge.data.batches import FrameData, LabelledBatch
from sponge.data.frames import Splits
from sponge.potentials.potential import Potential

CLOSEST = 0.2
"""[angstrom]: two atoms of a frame are never this close in chemistry, and tables of filters begin there"""


class PotentialTask(Task):
    """A potential, frames of any size, and a weighted square error of energies, forces and stresses.

    loss = energy_weight * mean (dE / eV)^2 + force_weight * mean (dF / (eV/angstrom))^2
         + stress_weight * mean (dS / (eV/angstrom^3))^2,
    the first mean over systems, the others over Cartesian components, of the labels that are there. With
    energy_per = "atom", dE is divided by the number of atoms of its system. `terms` weighs what the potential itself
    offers beside them (`Potential.terms`).
    """

    units: ClassVar[dict[str, str]] = {
        "energy_mae": "meV",
        "energy_per_atom_mae": "meV/atom",
        "force_mae": "meV/angstrom",
        "stress_mae": "meV/angstrom^3",
        "energy_mae_kcal": "kcal/mol",
        "force_mae_kcal": "kcal/mol/angstrom",
    }
    second_order: ClassVar[bool] = True
    model: Potential

    def __init__(
        self,
        model: Potential,
        splits: Splits,
        *,
        batch_size: int,
        energy_weight: float,
        force_weight: float,
        stress_weight: float = 0.0,
        energy_per: Literal["system", "atom"] = "system",
        terms: Mapping[str, float] | None = None,
        bucketed: bool = True,
        shuffle_seed: int = 0,
        test_batch_size: int = 50,
    ) -> None:
        self.model, self.data = model, splits
        self.weights = {"energy": energy_weight, "force": force_weight, "stress": stress_weight}
        self.energy_per, self.bucketed, self.terms = energy_per, bucketed, dict(terms or {})
        self.batch_size, self.test_batch_size, self.shuffle_seed = batch_size, test_batch_size, shuffle_seed
        self._lists: dict[str, FrameData] = {}
        if not stress_weight:
            self.units = {name: unit for name, unit in self.units.items() if name != "stress_mae"}  # type: ignore[misc]
        _check_labels(splits, self.weights)
        _check_terms(model, self.terms)

    def batches(self, split: str) -> Batches:
        """Returns the batches of a split; lists are made once for each frame, and a step only picks rows."""
        data = self._data(split)
        if split != "train":
            return Batches(data, min(self.test_batch_size, len(data)), _collate)
        sizes = data.frames.count
        ragged = self.bucketed and bool((sizes != sizes[0]).any())
        return Batches(
            data,
            self.batch_size,
            _collate,
            shuffle_seed=self.shuffle_seed,
            drop_last=True,
            sizes=sizes if ragged else None,
        )

    def _data(self, split: str) -> FrameData:
        if split not in self._lists:
            closest = max(CLOSEST, self.model.closest)
            frames = self.data.of(split)
            self.check_elements(split)
            self._lists[split] = FrameData(frames, cutoff=self.model.cutoff, half=self.model.half, closest=closest)
        return self._lists[split]

    def check_elements(self, split: str) -> None:
        """Raises InputError, naming file and frame, for an element that the model does not know."""
        if self.model.elements is None:
            return
        from ase.data import chemical_symbols

        frames = self.data.of(split)
        present, counts = frames.compositions()
        strange = [number not in self.model.elements for number in present]
        if any(strange):
            found = counts[:, torch.tensor(strange)].any(-1).nonzero().flatten()
            names = ", ".join(chemical_symbols[n] for n, odd in zip(present, strange, strict=True) if odd)
            raise InputError(
                f"{frames.name(int(found[0]))} of the {split} frames holds {names} ({len(found)} frames do), which the "
                f"model was not made for; it knows {', '.join(chemical_symbols[n] for n in self.model.elements)}. "
                "Leave those frames out, or add such frames to those that train"
            )

    def loss(self, batch: LabelledBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Returns the loss and, for `summarise`, the sums of absolute errors with the number of labels, a frame."""
        system = batch.system
        strained = self.weights["stress"] > 0
        found = self.model.evaluate(system, batch.neighbors, virial=strained, create_graph=self.model.training)
        n_atoms = system.atom_counts.to(found.energy)
        of_energy, known = _difference(found.energy, batch.energy)
        of_forces, pulled = _difference(found.forces, batch.forces)
        errors = {"energy": (of_energy, known), "force": (of_forces, pulled)}
        if strained:
            volume = torch.linalg.det(system.cell.double()).abs()[:, None, None]
            errors["stress"] = _difference(-found.virial / torch.where(volume > 0, volume, 1.0), batch.stress.double())
        weighed = dict(errors)
        if self.energy_per == "atom":
            weighed["energy"] = of_energy / n_atoms, known
        loss = sum(self.weights[name] * _mean_square(*error) for name, error in weighed.items())
        loss = loss + sum(weight * found.terms[name] for name, weight in self.terms.items())
        errors["energy_per_atom"] = of_energy / n_atoms, known
        with torch.no_grad():
            metrics = {
                f"{name} {what}": value / system.n_systems
                for name, (error, there) in errors.items()
                for what, value in (("error", error.abs().sum()), ("labels", there.sum()))
            } | {name: found.terms[name].detach() for name in self.terms}
        return loss, metrics  # type: ignore[return-value]

    def summarise(self, averages: dict[str, float]) -> dict[str, float]:
        """Returns the loss and the mean absolute errors over all labels, in meV and in kcal/mol."""
        found = {name: value for name, value in averages.items() if not name.endswith((" error", " labels"))}
        for name in ("energy", "energy_per_atom", "force", "stress"):
            if averages.get(f"{name} labels", 0.0) > 0:
                found[f"{name}_mae"] = 1e3 * averages[f"{name} error"] / averages[f"{name} labels"]
        for name in ("energy_mae", "force_mae"):
            if name in found:
                found[f"{name}_kcal"] = 1e-3 * found[name] / units.KCAL_PER_MOL_EV
        return found


def _collate(data: FrameData, indices: Int[Tensor, " batch"]) -> LabelledBatch:
    return data.collate(indices)


def _difference(found: Tensor, label: Tensor) -> tuple[Tensor, Bool[Tensor, "..."]]:
    """The error where there is a label, and 0 elsewhere."""
    known = label.isfinite()
    return torch.where(known, found - label.nan_to_num(nan=0.0), 0.0), known


def _mean_square(error: Tensor, known: Tensor) -> Tensor:
    return error.square().sum() / known.sum().clamp(min=1)


def _check_labels(splits: Splits, weights: dict[str, float]) -> None:
    """Raises InputError where a loss is asked for of a label that no training frame has."""
    frames = splits.train
    # One frame of forces is enough to know: all of a file have them or have not.
    there = {"energy": frames.energy, "force": frames.forces, "stress": frames.stress}
    for name, weight in weights.items():
        if weight > 0 and not bool(there[name].isfinite().any()):
            raise InputError(
                f"loss.{name}_weight = {weight:g}, but no training frame has a {name} label; set it to 0, or name the "
                "key of the label in the file"
            )


def _check_terms(model: Potential, terms: Mapping[str, float]) -> None:
    """Raises InputError for a term of the loss that the potential, as it is made, does not offer."""
    for name in terms:
        if name not in model.terms:
            raise InputError(
                f"loss.terms.{name}: this {type(model).__name__} offers {list(model.terms) or 'no terms'}; MolCT "
                "offers ponder with model.options.cycles above 1, PhysNet hierarchy with modules above 1"
                f"{nearest(name, model.terms) or '; leave it out'}"
            )


def errors_of(potential: Potential, splits: Splits, split: str = "test", *, batch_size: int = 10) -> dict[str, Any]:
    """Returns the mean absolute errors of a potential on the frames of a split, as a training reports them."""
    has_stress = bool(splits.of(split).stress.isfinite().any())
    task = PotentialTask(
        potential, splits, batch_size=1, energy_weight=1.0, force_weight=0.0, test_batch_size=batch_size,
        stress_weight=1.0 if has_stress else 0.0,
    )  # fmt: skip
    sums: dict[str, float] = {}
    batches = task.batches(split)
    for step in range(len(batches)):
        _, metrics = task.loss(batches.at(step))
        for name, value in metrics.items():
            sums[name] = sums.get(name, 0.0) + float(value) * batches.weight(step)
    return task.summarise({name: total / batches.n_items for name, total in sums.items()})
