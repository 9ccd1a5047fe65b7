"""The case of task "sponge/train": data, model, loss and trainer of a potential."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from mindsci import hub, plugins
from mindsci.config import InputFile, Table
from mindsci.errors import InputError, nearest
from mindsci.kernels import set_engine
from mindsci.runs import Run
from mindsci.train import Task, TrainingCase
from mindsci.train.boost import ACCELERATIONS, MODEL_ENGINE, Acceleration
from sponge.data.convention import convention
from sponge.data.files import read_file, read_isolated
from sponge.data.frames import Frames, Splits
from sponge.data.splits import split_frames
from sponge.potentials.loading import load_potential
from sponge.potentials.potential import Potential
from sponge.tasks import PotentialTask

NonNegative = Annotated[float, Field(ge=0)]
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
    """`[data]`: a data set by name, or a file of structures; and which frames validate and test.

    With `molecule`, the data set is "<dataset>_<molecule>": dataset = "rmd17", molecule = "aspirin". A file needs its
    units: units = {energy = "eV", length = "angstrom"}.
    """

    dataset: str | None = None
    molecule: str | None = None
    labels: Literal["revised", "original"] | None = None
    file: InputFile | None = None
    """extended XYZ (.xyz, .extxyz), a database of ASE (.db), or one molecule in an npz as MD17 has them"""
    test_file: InputFile | None = None
    isolated_file: InputFile | None = None
    """frames of single atoms, for model.reference = "isolated\""""
    split: InputFile | None = None
    """a JSON file {"train": [0, 2, ...], "validation": [...], "test": [...]} of frames of `file`"""
    keys: dict[str, str] = {}
    units: dict[str, str] = {}
    stream: bool | None = None
    """whether frames are mapped from a packed copy in the cache folder; by default where a file is above 256 MiB"""
    validation: int | None = Field(default=None, ge=1)
    test: int | None = Field(default=None, ge=1)
    """frames of `file` that are set aside to test, where neither `test_file` nor `split` says which"""
    split_seed: int | None = None
    batch_size: int = Field(default=10, ge=1)
    bucketed: bool = True
    """whether frames of like size make a batch, where sizes differ"""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.dataset is None) == (self.file is None):
            raise ValueError("name one source: dataset (a card) or file (structures)")
        of_file = ("test_file", "isolated_file", "split", "stream", "test")
        others = of_file if self.file is None else ("molecule", "labels")
        for name in others:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} does not go with {'dataset' if self.file is None else 'file'}; leave it out")
        return self

    @property
    def name(self) -> str:
        """The name of the data set's card, or of the file."""
        if self.file is not None:
            return self.file.name
        return f"{self.dataset}_{self.molecule}" if self.molecule else str(self.dataset)

    @property
    def options(self) -> dict[str, Any]:
        """What the reader is told: the options that the case names."""
        given = {name: getattr(self, name) for name in ("labels", "validation", "split_seed")}
        return {name: value for name, value in given.items() if value is not None}

    def load(self, dtype: torch.dtype) -> Splits:
        """Returns the frames in their splits, in angstrom and eV."""
        if self.file is None:
            return load_splits(self.name, dtype=dtype, **self.options)
        known = convention(self.keys, self.units, where="data")
        frames, test_frames = (
            None if path is None else read_file(path, known, dtype, stream=self.stream)
            for path in (self.file, self.test_file)
        )
        isolated = None if self.isolated_file is None else read_isolated(self.isolated_file, known, dtype)
        return split_frames(
            frames,
            test_frames=test_frames,
            indices=self.split,
            validation=self.validation,
            test=self.test,
            seed=self.split_seed or 0,
        ).with_isolated(isolated)


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
    engine: Literal["auto", "reference", "numba"] | None = None
    """what trains a model that has several: "reference" is torch's tape; "auto" takes the fastest that serves"""
    reference: Literal["fit", "isolated"] = "fit"
    """energies of the elements: a least-squares fit to the training frames, or those of given single atoms"""
    start: InputFile | None = None
    """model.toml of a training that this one goes on from; options, scale and reference energies are then its own"""

    @model_validator(mode="after")
    def _keeps_its_reference(self) -> Self:
        if self.start is not None and self.reference == "isolated":
            raise ValueError('model.start keeps the reference energies that it has; leave reference = "isolated" out')
        return self


class LossTable(Table):
    """`[loss]`: weights of the square errors, in eV^2, (eV/angstrom)^2 and (eV/angstrom^3)^2."""

    energy_weight: float = Field(default=0.01, ge=0)
    force_weight: float = Field(default=1.0, ge=0)
    stress_weight: float = Field(default=0.0, ge=0)
    energy_per: Literal["system", "atom"] = "system"
    terms: dict[str, NonNegative] = {}
    """weights of what the model offers beside: ponder (MolCT with cycles), hierarchy (PhysNet)"""


class TrainPotentialCase(TrainingCase):
    """The case of task "sponge/train"."""

    task_type: ClassVar[type[Task]] = PotentialTask
    accelerations: ClassVar[tuple[Acceleration, ...]] = (
        *ACCELERATIONS,
        MODEL_ENGINE,
        Acceleration(
            key="data.bucketed", part="data", on={1: True}, off=False, what="frames of like size make a batch",
        ),
    )  # fmt: skip
    data: DataTable
    model: ModelTable = ModelTable()
    loss: LossTable = LossTable()

    def card(self) -> dict[str, Any]:
        """Returns title, citation, domain and data of a card of the trained potential."""
        if self.data.file is not None:
            raise InputError(
                "a card names a data set, and this case trained on a file; write a card for the data first"
            )
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
        model = build_model(self.model, splits)
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
            terms=self.loss.terms,
            bucketed=self.data.bucketed,
            shuffle_seed=self.seed,
        )


def build_model(table: ModelTable, splits: Splits) -> Potential:
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
    frames = splits.train
    elements = [chemical_symbols[number] for number in frames.elements]
    model: Potential = _started(table, builder) if table.start else builder(elements=elements, **table.options)
    set_engine(model, table.engine, table.name)
    if table.start:
        return model
    reference, rest = reference_energies(frames, splits.isolated if table.reference == "isolated" else None)
    if table.reference == "isolated" and splits.isolated is None:
        raise InputError('model.reference = "isolated" needs single atoms: name data.isolated_file, or use "fit"')
    model.set_scales(reference=reference, scale=energy_scale(frames, rest))
    return model


def _started(table: ModelTable, builder: type[Potential]) -> Potential:
    """Returns a copy, to be trained, of the model that a training left."""
    model = load_potential(model=table.start)
    if type(model) is not builder:
        raise InputError(f'model.start is a {type(model).__name__}, and model.name = "{table.name}"; name its own kind')
    for name, value in table.options.items():
        if model.config.get(name) != value:
            raise InputError(
                f"model.options.{name} = {value}, but the model in model.start has {model.config.get(name)}; leave "
                "model.options out"
            )
    return model.requires_grad_(True).train()


def reference_energies(
    frames: Frames, isolated: Frames | None = None
) -> tuple[Float[Tensor, " elements"], Float[Tensor, " frames"]]:
    """Returns the reference energy of each element [eV], and what they leave of each energy that is there [eV].

    Without isolated atoms, the least-squares fit of the energies to the numbers of atoms; of the many that fit where
    compositions do not tell the elements apart, the smallest. Raises InputError for an element that is not among them.
    """
    elements, counts = frames.compositions()
    known = frames.energy.isfinite()
    counts, energy = counts[known], frames.energy[known]
    if isolated is None:
        reference = torch.linalg.lstsq(counts, energy[:, None], driver="gelsd").solution[:, 0]
    else:
        single = isolated.select((isolated.count == 1).nonzero().flatten())
        numbers = single.atomic_numbers[single.first].tolist()
        of_element = dict(zip(numbers, single.energy.tolist(), strict=True))
        missing = [number for number in elements if number not in of_element]
        if missing:
            raise InputError(
                f"no single atom with atomic number {missing[0]} among {isolated.name(0)} and the frames after it; add "
                'it, or use model.reference = "fit"'
            )
        reference = torch.tensor([of_element[number] for number in elements], dtype=torch.float64)
    return reference, energy - counts @ reference


def energy_scale(frames: Frames, rest: Float[Tensor, " frames"]) -> float:
    """Returns the root mean square force times 1 angstrom [eV], or that of the energies' rest where no forces are."""
    forces = frames.forces
    square = forces.square()
    known = square.isfinite()
    if bool(known.any()):
        return float((torch.where(known, square, 0.0).double().sum() / known.sum()).sqrt())
    return max(float(rest.square().mean().sqrt()), 1e-3)
