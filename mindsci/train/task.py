"""What is learnt: a model, its batches and its loss. The Trainer knows nothing else about a problem."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from mindsci import plugins
from mindsci.config import Table
from mindsci.errors import InputError
from mindsci.train.batches import Batches, take


class ModelRecord(Table):
    """How a trained model is built again: calling `builder` with `config` as keywords, then loading the weights."""

    builder: str
    """The class or function, as "module:attribute"."""
    config: dict[str, Any] = {}

    def build(self) -> nn.Module:
        """Returns a new model. Raises InputError where builder and config do not make one."""
        try:
            model = plugins.load(self.builder)(**self.config)
        except (ImportError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.builder} with config {self.config} does not build the model again: {error}; give the model an "
                "attribute `config` with the keywords of its class, or override Task.describe"
            ) from error
        if not isinstance(model, nn.Module):
            raise InputError(
                f"{self.builder} made a {type(model).__name__}, not a torch module; name the model's class"
            )
        return model


class Task(ABC):
    """A problem to train on. `model` holds every trainable parameter.

    While the trainer evaluates, the model is in eval mode and its parameters ask for no gradient, but gradients
    stay enabled: a loss may take forces by `torch.autograd.grad`, with `create_graph=self.model.training`.

    Batches and buffers keep the dtype that the task gives them, unless `trainer.precision` is "float64".
    """

    model: nn.Module
    units: ClassVar[Mapping[str, str]] = {}
    """The unit of each metric, for reports."""

    second_order: ClassVar[bool] = False
    """Whether the loss holds derivatives of the model, such as forces: its gradient is then of second order."""

    convolutions: ClassVar[bool] = False
    """Whether the model convolves images or volumes."""

    splits: ClassVar[tuple[str, ...]] = ("train", "validation", "test")
    """The splits there are; an inverse design has "train" alone, and `trainer.validate_every = 0`."""

    @abstractmethod
    def batches(self, split: str) -> Batches:
        """Returns the batches of one of `splits`; only those of "train" are shuffled."""

    @abstractmethod
    def loss(self, batch: Any) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Returns the loss and the metrics of a batch: means over its items.

        Averages over many batches weigh each by `Batches.weight`, so they are exact for means over items.
        """

    def item_losses(self, batch: Any) -> Float[Tensor, " items"]:
        """Returns the loss of each item of a batch, for selective backpropagation."""
        raise NotImplementedError(f"{type(self).__name__} has no losses of single items")

    def inputs_and_targets(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Returns what the model is called with, and what its output is compared with, each with a row an item: a
        pipeline has the one on its first process and the other on its last."""
        raise NotImplementedError(f"{type(self).__name__} does not cut its batches")

    def loss_of_output(self, output: Tensor, targets: Tensor) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Returns the loss and the metrics, means over items as those of `loss`."""
        raise NotImplementedError(f"{type(self).__name__} has no loss of an output")

    def choose(self, batch: Any, indices: Int[Tensor, " chosen"]) -> Any:
        """Returns some items of a batch."""
        return take(batch, indices)

    def coarsened(self, batch: Any, share: float) -> Any:
        """Returns a batch with a share of the points, frequencies or bytes of each item: quicker, and nearly as good
        early on."""
        raise NotImplementedError(f"{type(self).__name__} has no coarser items")

    @classmethod
    def offers(cls, method: str) -> bool:
        """Returns whether a task has one of the methods above that need not be there."""
        return getattr(cls, method) is not getattr(Task, method)

    def finish(self) -> None:
        """Sets what follows from the best weights, which the model then holds, such as the scale of an uncertainty."""
        return

    def summarise(self, averages: dict[str, float]) -> dict[str, float]:
        """Returns the metrics to report from the averages over a split, e.g. the root of a mean square."""
        return averages

    def describe(self) -> ModelRecord:
        """Returns how the model is built again; by default its class, and its attribute `config`."""
        kind = type(self.model)
        return ModelRecord(builder=f"{kind.__module__}:{kind.__qualname__}", config=_plain(self.model))


def _plain(model: nn.Module) -> dict[str, Any]:
    config = getattr(model, "config", {})
    if hasattr(config, "model_dump"):
        config = config.model_dump(mode="json", exclude_none=True)
    # TOML has no word for nothing: what is None is left to the default.
    return {key: value for key, value in config.items() if value is not None} if isinstance(config, Mapping) else {}
