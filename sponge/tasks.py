"""Training a potential on energies and forces: the task "sponge/train"."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from mindsci import hub, plugins, tree, units
from mindsci.config import Table
from mindsci.errors import InputError, nearest
from mindsci.runs import Run
from mindsci.train import Batches, Task, TrainingCase
from mindsci.tree import Tree
from sponge.data.frames import Frames, Splits
from sponge.neighbors import Neighbors, all_pairs
from sponge.potentials.potential import Potential, energy_and_forces
from sponge.system import System, create


class LabelledBatch(Tree):
    """Systems with the energies [eV] and forces [eV/angstrom] that a potential should give them."""

    system: System
    neighbors: Neighbors
    energy: Float[Tensor, " systems"]
    """less the task's offset: a trainer may round it to float32, which would blur a total of thousands of eV"""
    forces: Float[Tensor, "atoms 3"]


class PotentialTask(Task):
    """A potential, the frames of one molecule, and a weighted square error of energies and forces.

    loss = energy_weight * mean (dE / eV)^2 + force_weight * mean (dF / (eV/angstrom))^2, the second mean over
    Cartesian components.
    """

    units: ClassVar[dict[str, str]] = {
        "energy_mae": "meV",
        "force_mae": "meV/angstrom",
        "energy_mae_kcal": "kcal/mol",
        "force_mae_kcal": "kcal/mol/angstrom",
    }
    model: Potential

    def __init__(
        self,
        model: Potential,
        splits: Splits,
        *,
        batch_size: int,
        energy_weight: float,
        force_weight: float,
        shuffle_seed: int = 0,
        test_batch_size: int = 50,
    ) -> None:
        self.model, self.data = model, splits
        self.energy_weight, self.force_weight = energy_weight, force_weight
        self.batch_size, self.test_batch_size, self.shuffle_seed = batch_size, test_batch_size, shuffle_seed
        self.energy_offset = float(splits.train.energy.mean())
        self._templates: dict[int, tuple[System, Neighbors]] = {}

    def batches(self, split: str) -> Batches:
        """Returns the batches of a split; nothing but rows is picked when a step asks for one."""
        if split == "train":
            return Batches(
                self.data.train, self.batch_size, self.collate, shuffle_seed=self.shuffle_seed, drop_last=True
            )
        return Batches(self.data.of(split), self.test_batch_size, self.collate)

    def collate(self, frames: Frames, indices: Int[Tensor, " batch"]) -> LabelledBatch:
        """Returns the frames of a batch as systems.

        The molecule is always the same, so that everything but positions and labels is made once for each batch
        size; all its pairs are listed, as those beyond the cutoff add nothing to energy or forces.
        """
        template, neighbors = self._template(len(indices))
        positions = frames.positions.index_select(0, indices).flatten(0, 1)
        return LabelledBatch(
            system=tree.replace(template, positions=positions),
            neighbors=neighbors,
            energy=frames.energy.index_select(0, indices) - self.energy_offset,
            forces=frames.forces.index_select(0, indices).flatten(0, 1),
        )

    def _template(self, n_systems: int) -> tuple[System, Neighbors]:
        if n_systems not in self._templates:
            numbers = self.data.atomic_numbers
            system = create(
                self.data.train.positions[:1].expand(n_systems, -1, -1).flatten(0, 1),
                numbers.repeat(n_systems),
                system=torch.arange(n_systems).repeat_interleave(len(numbers)),
            )
            self._templates[n_systems] = system, all_pairs(system, half=self.model.half)
        return self._templates[n_systems]

    def loss(self, batch: LabelledBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Returns the loss and the mean absolute errors of a batch."""
        energy, forces = energy_and_forces(self.model, batch.system, batch.neighbors, create_graph=self.model.training)
        of_energy = energy - self.energy_offset - batch.energy
        of_forces = forces - batch.forces
        loss = self.energy_weight * of_energy.square().mean() + self.force_weight * of_forces.square().mean()
        with torch.no_grad():
            metrics = {"energy_mae": 1e3 * of_energy.abs().mean(), "force_mae": 1e3 * of_forces.abs().mean()}
        return loss, metrics

    def summarise(self, averages: dict[str, float]) -> dict[str, float]:
        """Returns the averages, with the errors in kcal/mol beside those in meV."""
        for name in ("energy_mae", "force_mae"):
            averages[f"{name}_kcal"] = 1e-3 * averages[name] / units.KCAL_PER_MOL_EV
        return averages


class DataTable(Table):
    """`[data]`: which data set, which of its labels, and how many training frames validate."""

    dataset: str
    labels: Literal["revised", "original"] = "revised"
    validation: int = Field(default=50, ge=1)
    split_seed: int = 0
    batch_size: int = Field(default=10, ge=1)


class ModelTable(Table):
    """`[model]`: a model of a plugin, and its options in `[model.options]`."""

    name: str = "sponge/schnet"
    options: dict[str, Any] = {}


class LossTable(Table):
    """`[loss]`: weights of the square errors, in eV^2 and (eV/angstrom)^2."""

    energy_weight: float = Field(default=0.01, ge=0)
    force_weight: float = Field(default=1.0, gt=0)


class TrainPotentialCase(TrainingCase):
    """The case of task "sponge/train"."""

    data: DataTable
    model: ModelTable = ModelTable()
    loss: LossTable = LossTable()

    def build(self, run: Run) -> PotentialTask:
        """Returns the task, with a new model scaled to the training frames."""
        splits: Splits = hub.load_dataset(
            self.data.dataset,
            labels=self.data.labels,
            validation=self.data.validation,
            split_seed=self.data.split_seed,
        )
        model = build_model(self.model, splits)
        run.log(
            f"{self.data.dataset}: {len(splits.train.energy)} training, {len(splits.validation.energy)} validation, "
            f"{len(splits.test.energy)} test frames of {len(splits.atomic_numbers)} atoms, {self.data.labels} labels"
        )
        return PotentialTask(
            model,
            splits,
            batch_size=self.data.batch_size,
            energy_weight=self.loss.energy_weight,
            force_weight=self.loss.force_weight,
            shuffle_seed=self.seed,
        )


def build_model(table: ModelTable, splits: Splits) -> Potential:
    """Returns a new model for the elements of the data, its energy zero and scale set from the training frames.

    The reference energies of the elements are the least-squares fit to the mean energy; of the many that fit one
    molecule, the smallest. The scale is the root mean square force times 1 angstrom.
    """
    from ase.data import chemical_symbols

    builder = plugins.get("models", table.name)
    parameters = inspect.signature(builder).parameters
    if "elements" not in parameters:
        raise InputError(f'model.name = "{table.name}" is not a potential that can be trained; use "sponge/schnet"')
    known = [name for name in parameters if name != "elements"]
    for name in table.options:
        if name not in known:
            raise InputError(
                f"model.options.{name}: unknown option of {table.name}{nearest(name, known)}; known: {known}"
            )
    elements = sorted(set(splits.atomic_numbers.tolist()))
    model: Potential = builder(elements=[chemical_symbols[number] for number in elements], **table.options)
    counts = torch.tensor([[float((splits.atomic_numbers == number).sum()) for number in elements]]).double()
    mean = splits.train.energy.mean().reshape(1, 1)
    reference = torch.linalg.lstsq(counts, mean, driver="gelsd").solution[:, 0]
    model.set_scales(reference=reference, scale=float(splits.train.forces.square().mean().sqrt()))
    return model
