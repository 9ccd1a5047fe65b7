"""From the folder of a finished training to a card of pretrained/: weights, case, and figures with their command."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mindsci import config
from mindsci.errors import InputError, StorageError
from mindsci.files import storage_errors
from mindsci.hub.cache import checksum
from mindsci.hub.cards import PretrainedCard

if TYPE_CHECKING:
    from mindsci.train import TrainingCase

TEST = re.compile(r"test (?P<name>\w+) \[(?P<unit>[^\]]+)\]")
NEEDED = ("case.toml", "model.toml", "model.safetensors", "results.json")

README = """# {title}

{domain_text}

| test error (mean absolute) | value |
|---|---|
{rows}

Trained on `{data}`{told}, {steps} steps, seed {seed}; the validation frames chose the weights, the test
frames were never seen. {bytes:,} bytes of weights, licence {licence}.

    {check}        # prints the errors again
    {command}        # trains it again

Cite: {citation}.
"""


def pack(
    run: Path | str,
    *,
    name: str,
    into: Path | str = "pretrained",
    title: str = "",
    domain: str = "",
    licence: str = "Apache-2.0",
    replace: bool = False,
) -> Path:
    """Writes the folder `into`/`name` of a finished training: card.toml, README.md, case.toml and the weights.

    What the card says of data, citation and domain comes from the case (`TrainingCase.card`). Returns the folder.
    Raises StorageError where the run has not finished, InputError where the folder is there already or no test was run.
    """
    run, folder = Path(run), Path(into) / name
    missing = [file for file in NEEDED if not (run / file).is_file()]
    if missing:
        raise StorageError(f"'{run}' holds no finished training: {', '.join(missing)} not there; resume it to its end")
    if folder.exists() and not replace:
        raise InputError(f"'{folder}' exists; choose another name, or say replace")
    case: TrainingCase = config.load_case(run / "case.toml")  # type: ignore[assignment]
    said = case.card() | {key: value for key, value in (("title", title), ("domain", domain)) if value}
    record, results = config.read_case_text(run / "model.toml"), json.loads((run / "results.json").read_text())
    # Beside the final folder and renamed: a card is there whole or not at all.
    temporary = folder.with_name(f".writing-{secrets.token_hex(4)}-{name}")
    with storage_errors(folder):
        temporary.mkdir(parents=True)
        try:
            shutil.copyfile(run / "model.safetensors", temporary / f"{name}.safetensors")
            tables = _tables(said, record, results, name, licence, case, temporary / f"{name}.safetensors")
            card = config.validate(PretrainedCard, tables | {"folder": temporary}, folder=temporary, source=name)
            (temporary / "case.toml").write_text(config.to_toml(case), encoding="utf-8")
            (temporary / "card.toml").write_text(config.to_toml(card), encoding="utf-8")
            (temporary / "README.md").write_text(_readme(card, said, results), encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _tables(
    said: dict[str, Any],
    record: dict[str, Any],
    results: dict[str, Any],
    name: str,
    licence: str,
    case: TrainingCase,
    weights: Path,
) -> dict[str, Any]:
    found = {key: TEST.fullmatch(key) for key in results}
    metrics = [
        {
            "name": match["name"],
            "value": float(f"{results[key]:.4g}"),
            "unit": match["unit"],
            "split": "test",
            "command": said["check"],
        }
        for key, match in found.items()
        if match and not match["name"].endswith("_kcal")
    ]
    if not metrics:
        raise InputError(f"the results of {name} hold no test metric with a unit; a card needs one")
    domain = {"description": said["domain"], "elements": list(record.get("config", {}).get("elements", []))}
    return {
        "name": name,
        "title": said["title"],
        "licence": licence,
        "source": "trained by this project with the case beside the card",
        "citation": said["citation"],
        "builder": record["builder"],
        "config": record.get("config", {}),
        "weights": {"name": weights.name, "bytes": weights.stat().st_size, "sha256": checksum(weights)},
        "training": {
            "data": said["data"],
            "options": said["options"],
            "command": f"mindsci run pretrained/{name}/case.toml",
            "seed": case.seed,
        },
        "metrics": metrics,
        "domain": domain,
    }


def _readme(card: PretrainedCard, said: dict[str, Any], results: dict[str, Any]) -> str:
    rows = "\n".join(f"| {metric.name} | {metric.value:g} {metric.unit} |" for metric in card.metrics)
    told = ", ".join(f"{key} = {value!r}" for key, value in card.training.options.items())
    return README.format(
        title=card.title,
        domain_text=card.domain.description[0].upper() + card.domain.description[1:] + ".",
        rows=rows,
        data=card.training.data,
        told=f" ({told})" if told else "",
        steps=results.get("steps"),
        seed=card.training.seed,
        bytes=card.weights.bytes,
        licence=card.licence,
        check=said["check"],
        command=card.training.command,
        citation=card.citation,
    )
