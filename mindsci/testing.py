"""Conformance checks that a plugin's author runs on a flow, a task, a model or a card.

Each returns nothing where the contract is kept and raises ConformanceError with what is wrong otherwise.
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mindsci import plugins, tree
from mindsci.errors import InputError, UserError
from mindsci.solvers.splitting import Flow
from mindsci.train.task import ModelRecord, Task


class ConformanceError(AssertionError):
    """A part does not keep the contract of its kind; the message says which line of it and how far off."""


def check_flow(flow: Flow, state: Any, dt: float, *, t: float = 0.0, gradients: bool = True) -> None:
    """Checks a flow: pure, same structure, undone by -dt if it says so, and differentiable.

    Give a float64 state on which the flow does something; gradients=False for a flow that has none (a kernel
    that is fast but not the reference).
    """
    name = type(flow).__name__
    _expect(isinstance(getattr(flow, "reversible", None), bool), f"{name}.reversible must be True or False")
    _expect_float64(state)
    before = tree.map(Tensor.clone, state)
    with _globals_unchanged(name):
        after = flow(state, t, dt)
    _expect_same_structure(state, after, f"{name} changed the structure of its state")
    _expect_equal(before, state, f"{name} changed the state that it was given; return a new one")
    _expect_finite(after, f"{name} returned a state that is not finite")
    _expect_equal(after, flow(state, t, dt), f"{name} gave two results for one state and time; draw noise by counter")
    if flow.reversible:
        _expect_close(state, flow(after, t + dt, -dt), 1e-11, f"{name} says it is reversible, but -dt does not undo it")
    if gradients:
        _check_derivative(name, flow, state, t, dt)


def check_task(task: Task, *, split: str = "train") -> None:
    """Checks a training task: batches that depend on the step alone, a finite loss, gradients to every parameter."""
    name = type(task).__name__
    _expect(isinstance(getattr(task, "model", None), nn.Module), f"{name}.model must be a torch module")
    with _globals_unchanged(name):
        batches = task.batches(split)
        _expect(len(batches) >= 1, f"{name}.batches('{split}') has no batch")
        _expect_equal(batches.at(0), batches.at(0), f"{name}: batches.at(0) differs from one call to the next")
        afresh = task.batches(split).at(len(batches))
        _expect_equal(batches.at(len(batches)), afresh, f"{name}: batches.at must depend on the step alone")
        loss, metrics = _loss(task, batches.at(0), name)
        _check_gradients(task, loss, name)
        _check_evaluation(task, batches.at(0), metrics, name)
    check_record(task.describe(), task.model)


def check_module(model: nn.Module, *inputs: Any) -> None:
    """Checks a model: its weights survive safetensors to the same output, and calling it changes nothing global."""
    from safetensors.torch import load_file, save_file

    name = type(model).__name__
    model = copy.deepcopy(model).eval()
    with _globals_unchanged(name):
        expected = tree.detach(_as_tree(model(*inputs)))
    _expect(bool(model.state_dict()), f"{name} has no weights; register them as parameters or buffers")
    other = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file({key: value.clone().contiguous() for key, value in model.state_dict().items()}, path)
        other.load_state_dict(load_file(path))
    found = tree.detach(_as_tree(other(*inputs)))
    _expect_equal(expected, found, f"{name} gives another output after its weights were stored and loaded")


def check_record(record: ModelRecord, model: nn.Module) -> None:
    """Checks that a model's builder and config make a model that takes its weights."""
    try:
        record.build().load_state_dict(model.state_dict(), strict=True)
    except (UserError, RuntimeError) as error:
        raise ConformanceError(
            f"the task's record does not build the model again: {error}; give the model an attribute `config` with "
            "the keywords of its class, or override Task.describe"
        ) from error


def check_card(path: Path | str) -> None:
    """Checks a card: it parses, its code names resolve, its files have the stated size and checksum where present.

    `path` is the card's folder or its card.toml, below a folder `datasets` or `pretrained`.
    """
    from mindsci.hub.cards import Card, DatasetCard, PretrainedCard

    path = Path(path)
    folder = path if path.is_dir() else path.parent
    kinds: dict[str, type[Card]] = {"datasets": DatasetCard, "pretrained": PretrainedCard}
    kind = kinds.get(folder.resolve().parent.name)
    if kind is None:
        raise InputError(f"{folder} lies in neither 'datasets' nor 'pretrained'; move the card into one of them")
    try:
        card = kind.read(folder)
        code = card.reader if isinstance(card, DatasetCard) else card.builder  # type: ignore[attr-defined]
        items = "readers" if kind is DatasetCard else "models"
        _expect(callable(plugins.get(items, code)), f"{folder}: '{code}' cannot be called")
    except (UserError, ImportError) as error:
        raise ConformanceError(f"{folder}: {error}") from error
    _expect(card.name == folder.resolve().name, f"{folder}: the card is named '{card.name}'; rename one of the two")
    _expect((folder / "README.md").is_file(), f"{folder} has no README.md")
    _check_files(card, folder)


def _check_files(card: Any, folder: Path) -> None:
    from mindsci.hub.cache import fault

    for file in card.all_files:
        beside = folder / file.name
        if beside.exists():
            wrong = fault(beside, file)
            _expect(not wrong, f"{beside}: {wrong}")
        else:
            _expect(bool(file.url or file.mirror), f"{beside} is missing, and the card names no url or mirror for it")


def _check_derivative(name: str, flow: Flow, state: Any, t: float, dt: float) -> None:
    """The derivative of a random sum of the outputs, by autograd and by a central difference."""
    generator = torch.Generator().manual_seed(0)

    def drawn(leaf: Tensor) -> Tensor:
        return torch.randn(leaf.shape, generator=generator, dtype=torch.float64).to(leaf.device)

    inputs = [leaf for leaf in tree.leaves(state) if leaf.is_floating_point()]
    directions = [drawn(leaf) for leaf in inputs]
    weights: list[Tensor] = [drawn(leaf) for leaf in inputs]

    def output(moved: list[Tensor]) -> Tensor:
        remaining = iter(moved)
        given = tree.map(lambda leaf: next(remaining) if leaf.is_floating_point() else leaf, state)
        results = [leaf for leaf in tree.leaves(flow(given, t, dt)) if leaf.is_floating_point()]
        return torch.stack([(w * leaf).sum() for w, leaf in zip(weights, results, strict=True)]).sum()

    asked = [leaf.detach().clone().requires_grad_() for leaf in inputs]
    gradients = torch.autograd.grad(output(asked), asked, allow_unused=True)
    exact = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None)
    # The best step of a central difference is the cube root of rounding, against the size of the state.
    step = 6e-6 * max(1.0, *(float(leaf.abs().max()) for leaf in inputs if leaf.numel()))
    with torch.no_grad():
        ends = [output([x + s * d for x, d in zip(inputs, directions, strict=True)]) for s in (step, -step)]
    numeric = float(ends[0] - ends[1]) / (2 * step)
    scale = max(abs(numeric), abs(exact), math.sqrt(sum(leaf.numel() for leaf in inputs)))
    _expect(
        abs(exact - numeric) <= 1e-6 * scale,
        f"{name}: the derivative along a random direction is {exact:.9g} by autograd, {numeric:.9g} by differences",
    )


def _loss(task: Task, batch: Any, name: str) -> tuple[Tensor, dict[str, Tensor]]:
    task.model.train()
    loss, metrics = task.loss(batch)
    _expect(isinstance(loss, Tensor) and loss.shape == (), f"{name}.loss must return a scalar tensor first")
    _expect_finite({"loss": loss}, f"{name}: the loss is not finite")
    for key, value in metrics.items():
        _expect(isinstance(value, Tensor) and value.numel() == 1, f"{name}: the metric '{key}' must be a scalar tensor")
    _expect_finite(metrics, f"{name}: a metric is not finite")
    summary = task.summarise({"loss": float(loss.detach())} | {k: float(v.detach()) for k, v in metrics.items()})
    unknown = sorted(set(task.units) - set(summary))
    _expect(not unknown, f"{name}.units names metrics that the loss does not return: {', '.join(unknown)}")
    return loss, metrics


def _check_gradients(task: Task, loss: Tensor, name: str) -> None:
    learnt = {key: value for key, value in task.model.named_parameters() if value.requires_grad}
    _expect(bool(learnt), f"{name}.model has no parameter that asks for a gradient")
    gradients = torch.autograd.grad(loss, list(learnt.values()), allow_unused=True)
    missing = [key for key, gradient in zip(learnt, gradients, strict=True) if gradient is None]
    _expect(not missing, f"{name}: the loss does not depend on {', '.join(missing)}")
    _expect_finite(dict(zip(learnt, gradients, strict=True)), f"{name}: a gradient is not finite")


def _check_evaluation(task: Task, batch: Any, metrics: dict[str, Tensor], name: str) -> None:
    """As the trainer evaluates: eval mode, and parameters that ask for no gradient."""
    learnt = [parameter for parameter in task.model.parameters() if parameter.requires_grad]
    task.model.eval()
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        _, evaluated = task.loss(batch)
    except RuntimeError as error:
        raise ConformanceError(
            f"{name}.loss fails in eval mode, where no parameter asks for a gradient: {error}; "
            "take forces with create_graph=self.model.training"
        ) from error
    finally:
        task.model.train()
        for parameter in learnt:
            parameter.requires_grad_(True)
    _expect(set(evaluated) == set(metrics), f"{name}: the metrics differ between training and evaluation")


@contextmanager
def _globals_unchanged(name: str) -> Iterator[None]:
    before = _globals()
    yield
    changed = [key for key, value in _globals().items() if value != before[key]]
    _expect(not changed, f"{name} changed torch's {', '.join(changed)}; global state belongs to the user")


def _globals() -> dict[str, Any]:
    return {
        "default dtype": torch.get_default_dtype(),
        "grad mode": torch.is_grad_enabled(),
        "number of threads": torch.get_num_threads(),
        "deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "default device": torch.get_default_device(),
    }


def _as_tree(output: Any) -> Any:
    _expect(bool(tree.leaves(output)), "the model returned no tensor")
    return output


def _expect(kept: bool, message: str) -> None:
    if not kept:
        raise ConformanceError(message)


def _expect_float64(state: Any) -> None:
    named = tree.named_leaves(state)
    low = [f"{key} is {leaf.dtype}" for key, leaf in named if leaf.is_floating_point() and leaf.dtype != torch.float64]
    if low:
        raise InputError(f"a flow is checked in float64: {', '.join(low)}; use tree.to(state, dtype=torch.float64)")


def _expect_finite(values: Any, message: str) -> None:
    bad = [key for key, leaf in tree.named_leaves(values) if not bool(leaf.isfinite().all())]
    _expect(not bad, f"{message}: {', '.join(bad)}")


def _expect_same_structure(before: Any, after: Any, message: str) -> None:
    def kinds(values: Any) -> dict[str, str]:
        return {key: f"{leaf.dtype} {list(leaf.shape)} {leaf.device}" for key, leaf in tree.named_leaves(values)}

    _expect(type(before) is type(after), f"{message}: {type(before).__name__} became {type(after).__name__}")
    old, new = kinds(before), kinds(after)
    wrong = [f"{key}: {old.get(key)} became {new.get(key)}" for key in {**old, **new} if old.get(key) != new.get(key)]
    _expect(not wrong, f"{message}: {'; '.join(wrong)}")


def _expect_equal(expected: Any, found: Any, message: str) -> None:
    _expect_same_structure(expected, found, message)
    pairs = zip(tree.named_leaves(expected), tree.leaves(found), strict=True)
    wrong = [key for (key, one), other in pairs if not _same(one, other)]
    _expect(not wrong, f"{message}: {', '.join(wrong)}")


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same; NaN, which marks what is not known, equals NaN."""
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


def _expect_close(expected: Any, found: Any, relative: float, message: str) -> None:
    for (key, one), other in zip(tree.named_leaves(expected), tree.leaves(found), strict=True):
        if not one.numel():
            continue
        if not one.is_floating_point() and not one.is_complex():
            one, other = one.double(), other.double()
        size = max(1.0, float(one.abs().max()))
        error = float((one.to(torch.complex128) - other.to(torch.complex128)).abs().max()) / size
        _expect(error <= relative, f"{message}: '{key}' is off by {error:.2g} of its size (limit {relative:.0e})")
