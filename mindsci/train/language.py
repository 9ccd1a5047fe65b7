"""A language model on the bytes of a text: the task "mindsci/language_model"."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy
import torch
from jaxtyping import Float, Int, UInt8
from pydantic import Discriminator, Field, Tag
from torch import Tensor
from torch.nn.functional import cross_entropy

from mindsci.config import InputFile, Quantity, Table
from mindsci.distributed import Layout, Machine, Profile, expert_group, profile
from mindsci.errors import InputError, StorageError
from mindsci.nn import Transformer
from mindsci.runs import Run, process_count
from mindsci.train.batches import Batches
from mindsci.train.case import TrainingCase
from mindsci.train.task import Task

BYTES = 256
SHARES = {"train": (0.0, 0.9), "validation": (0.9, 0.95), "test": (0.95, 1.0)}
"""Where in the text each split lies: apart, so that no sequence is in two."""


class TextTable(Table):
    """`[data]`: a text, cut into sequences."""

    file: InputFile | None = None
    length: int = Field(default=256, ge=2)
    """bytes of a sequence"""
    batch_size: int = Field(default=16, ge=1)
    """sequences of a step, over all processes"""


class DecoderTable(Table):
    """`[model]`: see `mindsci.nn.Transformer`."""

    vocabulary: int = Field(default=BYTES, ge=BYTES)
    features: int = Field(default=128, ge=2)
    heads: int = Field(default=4, ge=1)
    layers: int = Field(default=4, ge=1)
    hidden: int = Field(default=0, ge=0)
    experts: int = Field(default=0, ge=0)
    choices: int = Field(default=2, ge=1)
    capacity_factor: float | None = Field(default=None, gt=0)
    every: int = Field(default=1, ge=1)


class ClusterTable(Table):
    """`[cluster]`: what a plan assumes of each process's device."""

    teraflops: float = Field(default=150.0, gt=0)
    """10^12 multiplications and additions a second that bfloat16 products sustain"""
    link: Quantity("byte/s") = "100 GB/s"
    """to other processes"""
    host_link: Quantity("byte/s") = "20 GB/s"
    """to the host"""
    host_update: float = Field(default=1e9, gt=0)
    """parameters a second that the host's Adam updates, for each process"""

    def machine(self, memory: float, host_memory: float) -> Machine:
        """Returns the machine with its memories [bytes]."""
        return Machine(
            memory=memory,
            host_memory=host_memory,
            arithmetic=1e12 * self.teraflops,
            link=self.link,
            host_link=self.host_link,
            host_update=self.host_update,
        )


class AutomaticLayout(Table):
    """`[parallel]` that leaves the layout to the planner: the fastest that fits the processes that run."""

    plan: Literal["auto"]
    memory: Quantity("byte")
    """of each process's device"""
    host_memory: Quantity("byte") | None = None
    """of the host, for each process; no limit by default"""


def _kind(value: Any) -> str:
    automatic = "plan" in value if isinstance(value, dict) else isinstance(value, AutomaticLayout)
    return "automatic" if automatic else "layout"


Parallel = Annotated[
    Annotated[Layout, Tag("layout")] | Annotated[AutomaticLayout, Tag("automatic")], Discriminator(_kind)
]


class LanguageTask(Task):
    """The next byte of a text; loss = cross entropy [nats], and for mixtures their losses of balance and of logits."""

    units: ClassVar[dict[str, str]] = {"bits_per_byte": "bits"}
    balance_weight = 1e-2
    z_weight = 1e-3

    def __init__(
        self, model: Transformer, text: UInt8[Tensor, " bytes"], table: TextTable, *, shuffle_seed: int
    ) -> None:
        self.model, self.text, self.table, self.shuffle_seed = model, text, table, shuffle_seed
        if len(text) < 40 * (table.length + 1):
            raise InputError(
                f"the text has {len(text)} bytes, too few for sequences of {table.length} in each split; use a text of "
                f"{40 * (table.length + 1)} bytes or more, or a smaller data.length"
            )

    def batches(self, split: str) -> Batches:
        low, high = (int(share * len(self.text)) for share in SHARES[split])
        starts = torch.arange(low, high - self.table.length, self.table.length)
        train = split == "train"
        return Batches(
            starts, self.table.batch_size, self._cut, shuffle_seed=self.shuffle_seed if train else None, drop_last=train
        )

    def _cut(self, starts: Int[Tensor, " items"], indices: Int[Tensor, " batch"]) -> UInt8[Tensor, "batch length"]:
        return self.text[starts[indices][:, None] + torch.arange(self.table.length + 1)]

    def loss(self, batch: UInt8[Tensor, "batch length"]) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Returns the loss and the bits a byte; shares of the busiest expert and of dropped choices for mixtures."""
        inputs, targets = self.inputs_and_targets(batch)
        logits, reports = self.model(inputs)
        loss, metrics = self.loss_of_output(logits, targets)
        if reports:
            for report in reports:
                loss = loss + (self.balance_weight * report.balance_loss + self.z_weight * report.z_loss) / len(reports)
            metrics["busiest_expert"] = torch.stack([report.load.max() for report in reports]).max()
            metrics["dropped"] = torch.stack([report.dropped for report in reports]).mean()
        return loss, metrics

    def inputs_and_targets(
        self, batch: UInt8[Tensor, "batch longer"]
    ) -> tuple[Int[Tensor, "batch length"], Int[Tensor, "batch length"]]:
        """Returns all bytes but the last, and all but the first."""
        batch = batch.long()
        return batch[:, :-1], batch[:, 1:]

    def loss_of_output(
        self, output: Float[Tensor, "batch length vocabulary"], targets: Int[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Returns the cross entropy and the bits a byte."""
        entropy = cross_entropy(output.flatten(0, 1).float(), targets.flatten())
        return entropy, {"bits_per_byte": entropy.detach() / numpy.log(2.0)}

    def item_losses(self, batch: UInt8[Tensor, "batch length"]) -> Float[Tensor, " batch"]:
        """Returns the mean cross entropy of each sequence [nats]."""
        batch = batch.long()
        logits, _ = self.model(batch[:, :-1])
        entropy = cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten(), reduction="none")
        return entropy.unflatten(0, (len(batch), -1)).mean(1)

    def coarsened(self, batch: UInt8[Tensor, "batch length"], share: float) -> UInt8[Tensor, "batch shorter"]:
        """Returns the first bytes of each sequence: short ones teach as much early on, for less attention."""
        return batch[:, : max(round(share * self.table.length), 1) + 1]


class LanguageCase(TrainingCase):
    """The case of task "mindsci/language_model"."""

    task_type: ClassVar[type[Task]] = LanguageTask
    data: TextTable = TextTable()
    model: DecoderTable = DecoderTable()
    cluster: ClusterTable = ClusterTable()
    parallel: Parallel | None = None  # type: ignore[assignment]

    def resolved(self) -> Self:
        """Returns the case with a layout in place of a plan, and the keys that `boost` sets."""
        table = self.parallel
        if not isinstance(table, AutomaticLayout):
            return super().resolved()
        from mindsci.distributed.explain import explain

        ranks = process_count()
        made = explain(self, ranks, table.memory, math.inf if table.host_memory is None else table.host_memory)
        if not made.fits:
            raise InputError(
                f'parallel.plan = "auto": no layout of {ranks} processes with {table.memory / 2**30:.1f} GiB each '
                f"fits; `mindsci plan --ranks {ranks}` shows the nearest ones; use more processes or a smaller model"
            )
        return self.model_copy(update={"parallel": made.found[0].layout}).resolved()

    def build(self, run: Run) -> LanguageTask:
        """Returns the task, with a new model."""
        if self.data.file is None:
            raise InputError('data.file is missing: name a text, such as file = "book.txt"')
        try:
            content = self.data.file.read_bytes()
        except OSError as error:
            raise StorageError(f"cannot read data.file '{self.data.file}': {error.strerror}") from None
        text = torch.from_numpy(numpy.frombuffer(content, dtype=numpy.uint8).copy())
        group = expert_group(self.parallel, run.device.type) if isinstance(self.parallel, Layout) else None
        model = Transformer(**self.model.model_dump(), group=group)
        return LanguageTask(model, text, self.data, shuffle_seed=self.seed)

    def profile(self) -> tuple[Profile, int]:
        """Returns the profile of the model and the tokens of a step, for a plan."""
        found = profile(Transformer, self.model.model_dump(), self.data.length)
        return found, self.data.batch_size * self.data.length
