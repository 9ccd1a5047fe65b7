"""The case of task "sponge/train": data, model, loss and trainer of a potential."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mindsci import hub, plugins
from mindsci.config import Table
from mindsci.errors import InputError, nearest
from mindsci.runs import Run
from mindsci.train import TrainingCase
from sponge.data.frames import Frames, Splits
from sponge.potentials.potential import Potential
from sponge.tasks import PotentialTask

CITATIONS = {
    "sponge/schnet": "K. T. Schuett et al., SchNet - a deep learning architecture for molecules and materials, "
    "J. Chem. Phys. 148, 241722 (2018), doi:10.1063/1.5019779",
    "sponge/painn": "K. T. Schuett, O. T. Unke and M. Gastegger, Equivariant message passing for the prediction of "
    "tensorial properties and molecular spectra, ICML (2021), arXiv:2102.03150",
    "sponge/physnet": "O. T. Unke and M. Meuwly, PhysNet: A Neural Network for Predicting Energies, Forces, Dipole "
    "Moments and Partial Charges, J. Chem. Theory Comput. 15, 3678 (2019), doi:10.1021/acs.jctc.9b00181",
    "sponge/molct": "J. Zhang et al., Molecular CT: Unifying Geometry and Representation Learning for Molecules at "
    "Different Scales, arXiv:2012.11816 (2020)",
}


class DataTable(Table):
    """`[data]`: which data set, which of its labels, and how many training frames validate.

    With `molecule`, the data set is "<dataset>_<molecule>": dataset = "rmd17", molecule = "aspirin".
    """

    dataset: str
    molecule: str | None = None
    labels: Literal["revised", "original"] | None = None
    validation: int | None = Field(default=None, ge=1)
    split_seed: int | None = None
    batch_size: int = Field(default=10, ge=1)
    bucketed: bool = True
    """whether frames of like size make a batch, where sizes differ"""

    @property
    def name(self) -> str:
        """The name of the data set's card."""
        return self.dataset if self.molecule is None else f"{self.dataset}_{self.molecule}"

    @property
    def options(self) -> dict[str, Any]:
        """What the reader is told: the options that the case names."""
        given = {name: getattr(self, name) for name in ("labels", "validation", "split_seed")}
        return {name: value for name, value in given.items() if value is not None}

    def load(self, dtype: torch.dtype) -> Splits:
        """Returns the frames in their splits, in angstrom and eV."""
        return load_splits(self.name, dtype=dtype, **self.options)


def load_splits(name: str, **options: Any) -> Splits:
    """Returns the splits of a data set's card. Raises InputError for an option that its reader does not have."""
    card = hub.find_card(hub.DatasetCard, name)
    known = set(inspect.signature(plugins.get("readers", card.reader)).parameters)
    for option, value in options.items():
        if option not in known:
            raise InputError(f"'{name}' has no choice of {option}: leave out data.{option} = {value!r}")
    splits = hub.load_dataset(card, **options)
    if not isinstance(splits, Splits):
        raise InputError(f"'{name}' is no data set of frames with energies; choose one that sponge reads")
    return splits


class ModelTable(Table):
    """`[model]`: a model of a plugin, and its options in `[model.options]`."""

    name: str = "sponge/schnet"
    options: dict[str, Any] = {}


class LossTable(Table):
    """`[loss]`: weights of the square errors, in eV^2, (eV/angstrom)^2 and (eV/angstrom^3)^2."""

    energy_weight: float = Field(default=0.01, ge=0)
    force_weight: float = Field(default=1.0, ge=0)
    stress_weight: float = Field(default=0.0, ge=0)
    energy_per: Literal["system", "atom"] = "system"


class TrainPotentialCase(TrainingCase):
    """The case of task "sponge/train"."""

    data: DataTable
    model: ModelTable = ModelTable()
    loss: LossTable = LossTable()

    def card(self) -> dict[str, Any]:
        """Returns title, citation, domain and data of a card of the trained potential."""
        data = hub.find_card(hub.DatasetCard, self.data.name)
        model = plugins.get("models", self.model.name)
        # What the test depends on: labels and split, not which training frames validated.
        options = {name: value for name, value in self.data.options.items() if name == "labels"}
        of = data.title + (", labels of the original MD17 (PBE+vdW-TS)" if self.data.labels == "original" else "")
        return {
            "title": f"{model.__name__} for {of}",
            "citation": CITATIONS.get(self.model.name, data.citation),
            "domain": f"systems like those of {of}, near the geometries of that data; no other element, no "
            "broken bond, no phase that is not in it",
            "check": "mindsci validate potentials",
            "data": data.name,
            "options": options,
        }

    def build(self, run: Run) -> PotentialTask:
        """Returns the task, with a new model scaled to the training frames."""
        splits = self.data.load(torch.float64 if self.trainer.precision == "float64" else torch.float32)
        model = build_model(self.model, splits.train)
        sizes = splits.train.count
        run.log(
            f"{self.data.name}: {len(splits.train)} training, {len(splits.validation)} validation, "
            f"{len(splits.test)} test frames of {int(sizes.min())} to {int(sizes.max())} atoms"
        )
        return PotentialTask(
            model,
            splits,
            batch_size=self.data.batch_size,
            energy_weight=self.loss.energy_weight,
            force_weight=self.loss.force_weight,
            stress_weight=self.loss.stress_weight,
            energy_per=self.loss.energy_per,
            bucketed=self.data.bucketed,
            shuffle_seed=self.seed,
        )


def build_model(table: ModelTable, frames: Frames) -> Potential:
    """Returns a new model for the elements of the training frames, with its energy zero and scale set from them."""
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
    elements = [chemical_symbols[number] for number in frames.elements]
    model: Potential = builder(elements=elements, **table.options)
    reference, rest = reference_energies(frames)
    model.set_scales(reference=reference, scale=energy_scale(frames, rest))
    return model


def reference_energies(frames: Frames) -> tuple[Float[Tensor, " elements"], Float[Tensor, " frames"]]:
    """Returns the reference energy of each element [eV], and what they leave of each energy that is there [eV].

    The least-squares fit of the energies to the numbers of atoms; of the many that fit where compositions do not tell
    the elements apart, the smallest.
    """
    _, counts = frames.compositions()
    known = frames.energy.isfinite()
    counts, energy = counts[known], frames.energy[known]
    reference = torch.linalg.lstsq(counts, energy[:, None], driver="gelsd").solution[:, 0]
    return reference, energy - counts @ reference


def energy_scale(frames: Frames, rest: Float[Tensor, " frames"]) -> float:
    """Returns the root mean square force times 1 angstrom [eV], or that of the energies' rest where no forces are."""
    forces = frames.forces
    square = forces.square()
    known = square.isfinite()
    if bool(known.any()):
        return float((torch.where(known, square, 0.0).double().sum() / known.sum()).sqrt())
    return max(float(rest.square().mean().sqrt()), 1e-3)
