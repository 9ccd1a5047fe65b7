"""Frozen keyword dataclasses whose tensors can be listed, mapped and replaced.

A state, a flow, a material table are trees: dataclasses, tuples, lists and dicts that hold tensors.
Tensors are the leaves; everything else (numbers, strings, modules) is structure and passes through unchanged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, dataclass_transform

import torch
from torch import Tensor, nn

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Tree:
    """Base class: a subclass becomes a frozen, keyword-only dataclass, compared by identity."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_summary(value)}" for name, value in _children(self))
        return f"{type(self).__name__}({shown})"


def _summary(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    return repr(value)


def replace(tree: T, **changes: Any) -> T:
    """Returns a copy of the dataclass with the named fields changed."""
    return dataclasses.replace(tree, **changes)  # type: ignore[type-var]


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Tree):
        for field in dataclasses.fields(node):  # type: ignore[arg-type]
            yield field.name, getattr(node, field.name)
    elif isinstance(node, (tuple, list)):
        for index, child in enumerate(node):
            yield str(index), child
    elif isinstance(node, dict):
        for key, child in node.items():
            yield str(key), child


def named_leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yields (dotted path, tensor) for every tensor of the tree, in field order."""
    if isinstance(tree, Tensor):
        yield prefix, tree
        return
    for name, child in _children(tree):
        yield from named_leaves(child, f"{prefix}.{name}" if prefix else name)


def leaves(tree: Any) -> list[Tensor]:
    """Returns every tensor of the tree, in field order."""
    return [leaf for _, leaf in named_leaves(tree)]


def map(function: Callable[..., Any], tree: T, *others: Any) -> T:
    """Returns the tree with each tensor replaced by function(tensor, *tensors at the same place in others)."""
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if isinstance(tree, Tree):
        names = [name for name, _ in _children(tree)]
        children = {
            name: map(function, getattr(tree, name), *(getattr(other, name) for other in others)) for name in names
        }
        return replace(tree, **children)
    if isinstance(tree, (tuple, list)):
        mapped = [map(function, child, *(other[i] for other in others)) for i, child in enumerate(tree)]
        if hasattr(tree, "_fields"):
            return type(tree)(*mapped)
        return type(tree)(mapped)
    if isinstance(tree, dict):
        return {key: map(function, child, *(o[key] for o in others)) for key, child in tree.items()}  # type: ignore
    return tree


def with_leaves(tree: T, new: list[Tensor]) -> T:
    """Returns the tree with its tensors replaced, in the order of `leaves`."""
    remaining = iter(new)
    result = map(lambda _: next(remaining), tree)
    if next(remaining, None) is not None:
        raise ValueError(f"{len(new)} tensors given for a tree of {len(leaves(tree))}")
    return result


def with_named_leaves(tree: T, named: dict[str, Tensor]) -> T:
    """Returns the tree with its tensors replaced by name; device and dtype of the template are kept.

    Raises ValueError where a name is missing or a shape differs: the values belong to another tree.
    """
    new = []
    for name, leaf in named_leaves(tree):
        if name not in named:
            raise ValueError(f"no tensor '{name}' among {sorted(named)}")
        if named[name].shape != leaf.shape:
            raise ValueError(f"'{name}' has shape {list(named[name].shape)}, expected {list(leaf.shape)}")
        new.append(named[name].to(device=leaf.device, dtype=leaf.dtype))
    return with_leaves(tree, new)


def to(tree: T, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> T:
    """Returns the tree on a device; dtype applies to floating-point and complex tensors only."""

    def move(leaf: Tensor) -> Tensor:
        wanted = dtype if dtype is not None and leaf.is_floating_point() else None
        if dtype is not None and leaf.is_complex():
            wanted = torch.complex128 if dtype == torch.float64 else torch.complex64
        return leaf.to(device=device, dtype=wanted)

    return map(move, tree)


def detach(tree: T) -> T:
    """Returns the tree cut from the autograd graph."""
    return map(Tensor.detach, tree)


def modules(tree: Any) -> Iterator[nn.Module]:
    """Yields every torch module that the tree holds."""
    if isinstance(tree, nn.Module):
        yield tree
    for _, child in _children(tree):
        yield from modules(child)


def parameters(tree: Any) -> list[Tensor]:
    """Returns the distinct tensors that ask for a gradient: leaves of the tree and parameters of its modules."""
    found = {id(leaf): leaf for leaf in leaves(tree) if leaf.requires_grad}
    for module in modules(tree):
        found |= {id(parameter): parameter for parameter in module.parameters() if parameter.requires_grad}
    return list(found.values())
