"""Data sets and pretrained models by name: cards, checked downloads, cache."""

from mindsci.hub.cache import local_files
from mindsci.hub.cards import Card, DatasetCard, PretrainedCard
from mindsci.hub.catalog import find_card, find_cards
from mindsci.hub.loading import load_dataset, load_pretrained, load_trained
from mindsci.hub.packing import pack
from mindsci.hub.settings import Settings
from mindsci.hub.transfer import DownloadError

__all__ = [
    "Card",
    "DatasetCard",
    "DownloadError",
    "PretrainedCard",
    "Settings",
    "find_card",
    "find_cards",
    "load_dataset",
    "load_pretrained",
    "load_trained",
    "local_files",
    "pack",
]
