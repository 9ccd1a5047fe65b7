"""From a name to data or to a model that is ready to use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mindsci import config, plugins
from mindsci.errors import InputError, StorageError
from mindsci.hub.cache import local_files
from mindsci.hub.cards import DatasetCard, PretrainedCard
from mindsci.hub.catalog import find_card

if TYPE_CHECKING:
    import torch
    from torch import nn


def load_dataset(name: str | DatasetCard, **options: Any) -> Any:
    """Returns what the card's reader makes of the data set's files, fetched and checked if need be.

    `name` is a card's name, a path that ends on card.toml, or a card. The options are the reader's own.
    """
    card = find_card(DatasetCard, name)
    return plugins.get("readers", card.reader)(local_files(card), card, **options)


def load_pretrained(
    name: str | PretrainedCard,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Returns the model of a card in evaluation mode, with its weights; no downloaded code runs.

    Raises InputError where the weights do not fit the model that the card's builder and config make.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card = find_card(PretrainedCard, name)
    weights = local_files(card)[card.weights.name]
    model: nn.Module = plugins.get("models", card.builder)(**card.config)
    model = model.to(device=device, dtype=dtype)
    try:
        model.load_state_dict(load_file(weights, device=str(device)), strict=True)
    except (RuntimeError, SafetensorError) as error:
        raise InputError(
            f"the weights {weights} do not fit {card.builder} with the config of card '{card.name}': {error}; "
            "use the release of mindsci that the card belongs to"
        ) from error
    return model.eval()


def load_trained(
    path: Path | str, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> nn.Module:
    """Returns the model of a training run in evaluation mode: its model.toml, beside which lies model.safetensors.

    Raises InputError for what is no such file, StorageError for what is not there.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    record = config.read_case_text(path)
    weights = path.parent / "model.safetensors"
    if set(record) != {"builder", "config"} or not isinstance(record["builder"], str):
        raise InputError(f"'{path}' is no model.toml of a training run: it needs the keys builder and config")
    if not weights.is_file():
        raise StorageError(f"'{weights}' is missing; a training run writes it beside model.toml")
    model: nn.Module = plugins.get("models", record["builder"])(**record["config"]).to(device=device, dtype=dtype)
    try:
        model.load_state_dict(load_file(weights), strict=True)
    except (RuntimeError, SafetensorError) as error:
        raise InputError(f"the weights '{weights}' do not fit '{path}': {error}") from None
    return model.eval()
