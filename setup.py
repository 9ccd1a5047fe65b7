"""Packages by name, and the cards of datasets/ and pretrained/ as data of `mindsci`; the rest is in setup.cfg."""

from pathlib import Path

from setuptools import find_packages, setup

CARDS = {
    f"mindsci._data.{card.parent.as_posix().replace('/', '.')}": card.parent.as_posix()
    for kind in ("datasets", "pretrained")
    for card in sorted(Path(kind).glob("*/card.toml"))
}

setup(
    packages=find_packages(
        include=[f"{package}{rest}" for package in ("mindsci", "elec", "sponge") for rest in ("", ".*")]
    )
    + list(CARDS),
    package_dir=CARDS,
)
