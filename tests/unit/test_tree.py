"""Trees: tensors are leaves, everything else is structure."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from mindsci import tree
from mindsci.tree import Tree


class Pair(Tree):
    first: Tensor
    others: tuple[Tensor, ...]
    named: dict[str, Tensor]
    label: str = "x"


def example() -> Pair:
    return Pair(first=torch.ones(2), others=(torch.zeros(3), torch.arange(2)), named={"k": torch.full((1,), 4.0)})


def test_fields_cannot_be_changed_or_given_by_position() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        example().first = torch.zeros(1)  # type: ignore[misc]
    with pytest.raises(TypeError):
        Pair(torch.ones(1), (), {})  # type: ignore[misc]


def test_leaves_are_named_by_their_path() -> None:
    assert [name for name, _ in tree.named_leaves(example())] == ["first", "others.0", "others.1", "named.k"]


def test_map_keeps_the_structure_and_takes_further_trees() -> None:
    total = tree.map(torch.add, example(), example())
    assert total.label == "x"
    assert torch.equal(total.first, torch.full((2,), 2.0))
    assert torch.equal(total.others[1], torch.tensor([0, 2]))


def test_named_leaves_come_back_into_a_template() -> None:
    stored = dict(tree.named_leaves(tree.map(lambda leaf: leaf + 1, example())))
    back = tree.with_named_leaves(example(), stored)
    assert torch.equal(back.named["k"], torch.full((1,), 5.0))


@pytest.mark.parametrize(
    ("name", "value", "message"), [("first", None, "no tensor 'first'"), ("first", torch.ones(5), "shape")]
)
def test_named_leaves_of_another_tree_are_refused(name: str, value: Tensor | None, message: str) -> None:
    stored = dict(tree.named_leaves(example()))
    stored.pop(name)
    if value is not None:
        stored[name] = value
    with pytest.raises(ValueError, match=message):
        tree.with_named_leaves(example(), stored)


def test_a_dtype_applies_to_floating_leaves_only() -> None:
    moved = tree.to(example(), dtype=torch.float64)
    assert moved.first.dtype == torch.float64
    assert moved.others[1].dtype == torch.int64


def test_parameters_are_found_in_leaves_and_in_modules_once() -> None:
    class Holder(Tree):
        weight: Tensor
        model: nn.Module

    weight = torch.ones(1, requires_grad=True)
    model = nn.Linear(2, 1)
    found = tree.parameters((Holder(weight=weight, model=model), weight))
    assert {id(p) for p in found} == {id(weight), id(model.weight), id(model.bias)}
    assert len(found) == 3
