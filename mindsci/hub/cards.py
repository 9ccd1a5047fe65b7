"""Cards: what a data set or a pretrained model is, where its files lie, how to check them.

A card is a folder with `card.toml` and `README.md`, and, where they are small, the files themselves. It holds
names of code ("module:attribute"), never code.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from mindsci import config


def _inside(value: str) -> str:
    """A path of a card may not climb out of the folder that it is relative to."""
    parts = PurePosixPath(value).parts
    if not value or "\\" in value or PurePosixPath(value).is_absolute() or ".." in parts or ":" in parts[0]:
        raise ValueError(f"'{value}' is not a relative path; use folders and a name parted by '/', without '..'")
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
RelativePath = Annotated[str, AfterValidator(_inside)]
Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Table(config.Table):
    """A table of a card: as in a case file, and no value is converted from another type."""

    model_config = ConfigDict(strict=True)


class File(Table):
    """One file: beside the card, or under `mirror` in MINDSCI_MIRROR, or at `url`."""

    name: RelativePath
    sha256: Sha256
    bytes: Annotated[int, Field(gt=0)]
    url: Url | None = None
    mirror: RelativePath | None = None


class Split(Table):
    """The part of a data set that serves one purpose."""

    files: list[str] = Field(min_length=1)
    samples: Annotated[int, Field(gt=0)]
    rule: str = ""
    indices: RelativePath | None = None
    """A JSON file beside the card, {"train": [0, 2, ...], ...}: which samples of the files, in their order."""


class Training(Table):
    """How weights came to be."""

    data: Text
    """Name of a data set's card."""
    options: dict[str, Any] = {}
    """What its reader was told, such as which labels: with them the test is the one that the metrics are of."""
    command: Text
    seed: int


class Metric(Table):
    """A number of a model, with the command that prints it."""

    name: Text
    value: float
    unit: str
    split: Text
    command: Text


class Domain(Table):
    """Where a model may be trusted; `limits` holds ranges with units, such as frequency = "1 to 10 GHz"."""

    description: Text
    elements: list[str] = []
    limits: dict[str, str] = {}


class Card(Table):
    """What data sets and models have in common."""

    kind: ClassVar[str]
    label: ClassVar[str]
    name: Name
    title: Text
    licence: Text
    source: Text
    citation: Text
    folder: Path = Field(exclude=True)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Returns the card of a folder (or of its card.toml), checked.

        Raises StorageError where there is none, InputError with a line for each thing that no card may say.
        """
        path = Path(path)
        path = path / "card.toml" if path.is_dir() else path
        tables = config.read_case_text(path) | {"folder": path.parent.resolve()}
        return config.validate(cls, tables, folder=path.parent, source=f"the card {path}")

    @property
    def all_files(self) -> list[File]:
        """Every file that the card lists."""
        raise NotImplementedError


class DatasetCard(Card):
    """A data set; `reader(paths, card, **options)` turns its files into what a task uses."""

    kind = "datasets"
    label = "data set"
    reader: Reference
    units: dict[str, str]
    shapes: dict[str, str]
    files: list[File] = Field(min_length=1)
    splits: dict[str, Split] = Field(min_length=1)
    options: dict[str, Any] = {}
    """What the reader must know beyond the files: keys, units, conventions."""

    @property
    def all_files(self) -> list[File]:
        return self.files

    @model_validator(mode="after")
    def _splits_name_files(self) -> Self:
        names = [file.name for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError(f"a file is listed twice among {names}")
        for split, part in self.splits.items():
            unknown = sorted(set(part.files) - set(names))
            if unknown:
                raise ValueError(f"split '{split}' names files that [[files]] does not list: {', '.join(unknown)}")
        return self


class PretrainedCard(Card):
    """A trained model: `builder(**config)` filled with `weights`."""

    kind = "pretrained"
    label = "pretrained model"
    builder: Reference
    config: dict[str, Any]
    weights: File
    training: Training
    metrics: list[Metric] = Field(min_length=1)
    domain: Domain

    @property
    def all_files(self) -> list[File]:
        return [self.weights]

    @model_validator(mode="after")
    def _weights_execute_nothing(self) -> Self:
        if not self.weights.name.endswith(".safetensors"):
            raise ValueError(f"weights '{self.weights.name}' are not safetensors, the one format that runs no code")
        return self
