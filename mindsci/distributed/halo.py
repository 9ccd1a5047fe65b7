"""One exchange of neighbouring slabs: a problem cut along one axis over the processes of a group.

Every process owns a stack of planes and keeps, beyond each border with a neighbour, a halo: copies of the planes that
the neighbour owns. A step that reaches r planes far leaves r planes less of the halo right; a halo of k r planes is
good for k steps, which compute part of it again on both sides, and then for one exchange.

What is exchanged are tensors that know the plane of each of their entries along one dimension: fields, what lives in
some planes only, lists of terms. Nothing here knows what they mean.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import Tensor

from mindsci.errors import InputError, UserError
from mindsci.tree import Tree


class LostProcessError(UserError, RuntimeError):
    """Another process of the run has ended."""


class Slab(Tree):
    """The planes low .. high - 1 of n_planes, of which `rank` is the owner, with a halo of `width` planes."""

    rank: int
    low: int
    high: int
    n_planes: int
    width: int

    @property
    def below(self) -> bool:
        """Whether a neighbour owns the planes below."""
        return self.low > 0

    @property
    def above(self) -> bool:
        return self.high < self.n_planes

    @property
    def first(self) -> int:
        """The first plane that is kept, the halo's included."""
        return self.low - self.width if self.below else self.low

    @property
    def end(self) -> int:
        """One more than the last plane that is kept."""
        return self.high + self.width if self.above else self.high


def slabs(n_planes: int, processes: int, width: int) -> tuple[Slab, ...]:
    """Returns the slabs of all processes, as even as can be.

    Raises InputError where a slab would be thinner than the halo that it fills at its neighbours.
    """
    if processes > 1 and n_planes // processes < width:
        raise InputError(
            f"{n_planes} planes over {processes} processes are slabs of {n_planes // processes}, and neighbours "
            f"exchange {width} planes; use at most {max(1, n_planes // width)} processes"
        )
    borders = [n_planes * rank // processes for rank in range(processes + 1)]
    return tuple(
        Slab(rank=rank, low=borders[rank], high=borders[rank + 1], n_planes=n_planes, width=width)
        for rank in range(processes)
    )


class Layout(NamedTuple):
    """Where planes lie in a tensor: its entry i along `dim` belongs to the plane planes[i] of the whole problem.

    cells: the entries lie between a plane and the next, so that a slab with a neighbour above keeps none of its last.
    """

    dim: int
    planes: Int[Tensor, "entries"]
    cells: bool = False

    def end(self, slab: Slab) -> int:
        """Returns the plane before which the entries of a slab end."""
        return slab.end - int(self.cells and slab.above)

    def within(self, low: int, high: int) -> Int[Tensor, "chosen"]:
        """Returns the entries of the planes low .. high - 1, in their order."""
        return ((self.planes >= low) & (self.planes < high)).nonzero()[:, 0]

    def of(self, slab: Slab) -> Layout:
        """Returns the layout of what a slab keeps."""
        return Layout(self.dim, self.planes[self.within(slab.first, self.end(slab))], self.cells)

    def cut(self, whole: Tensor, slab: Slab) -> Tensor:
        """Returns what a slab keeps of a whole tensor."""
        return _Part.of(self, slab.first, self.end(slab)).read(whole).clone()

    def owned(self, kept: Tensor, slab: Slab) -> Tensor:
        """Returns what a slab owns of what it keeps."""
        return _Part.of(self.of(slab), slab.low, slab.high).read(kept)


class _Part(NamedTuple):
    """Some entries of a tensor along a dimension: a run of them, or a list."""

    dim: int
    start: int
    length: int
    entries: Tensor | None

    @classmethod
    def of(cls, layout: Layout, low: int, high: int) -> _Part:
        index = layout.within(low, high)
        n = len(index)
        start = int(index[0]) if n else 0
        run = n == 0 or bool((index == torch.arange(start, start + n)).all())
        return cls(layout.dim, start, n, None if run else index)

    def read(self, tensor: Tensor) -> Tensor:
        if self.entries is None:
            return tensor.narrow(self.dim, self.start, self.length)
        return tensor.index_select(self.dim, self.entries.to(tensor.device))

    def write(self, tensor: Tensor, values: Tensor) -> None:
        if self.entries is None:
            tensor.narrow(self.dim, self.start, self.length).copy_(values)
        else:
            tensor.index_copy_(self.dim, self.entries.to(tensor.device), values)

    def size(self, tensor: Tensor) -> torch.Size:
        return torch.Size((*tensor.shape[: self.dim], self.length, *tensor.shape[self.dim + 1 :]))


class _Side(NamedTuple):
    """One neighbour: what it gets, and what is kept of it."""

    rank: int
    give: tuple[_Part, ...]
    take: tuple[_Part, ...]


class Border:
    """Exchanges the planes next to the borders of a slab with its neighbours, for tensors of the same layouts.

    `waited` adds up the seconds that `Pending.finish` has waited for, and `sent` the bytes.
    """

    def __init__(self, slab: Slab, layouts: Sequence[Layout]) -> None:
        """layouts: of what this slab keeps, one for each tensor."""
        self.slab, self.waited, self.sent = slab, 0.0, 0
        w = slab.width

        def parts(low: int, high: int, upper: int = 0) -> tuple[_Part, ...]:
            return tuple(_Part.of(layout, low, high - int(upper and layout.cells)) for layout in layouts)

        self.sides: list[_Side] = []
        if slab.below:
            self.sides.append(_Side(slab.rank - 1, parts(slab.low, slab.low + w, 1), parts(slab.low - w, slab.low)))
        if slab.above:
            self.sides.append(_Side(slab.rank + 1, parts(slab.high - w, slab.high), parts(slab.high, slab.high + w, 1)))

    def start(self, tensors: Sequence[Tensor]) -> Pending:
        """Sends the planes of this slab that its neighbours keep; the halo is as it was until `finish` is called.

        All tensors have one precision. Other planes may change meanwhile.
        """
        gives = [_packed([part.read(one) for part, one in zip(side.give, tensors, strict=True)]) for side in self.sides]
        takes = [_room([part.size(one) for part, one in zip(side.take, tensors, strict=True)], tensors[0])
                 for side in self.sides]  # fmt: skip
        self.sent += sum(message.nbytes for message in gives)
        return Pending(self, tensors, takes, _post(self.slab, self.sides, gives, takes))

    def exchange(self, tensors: Sequence[Tensor]) -> None:
        """Makes the halo of the tensors what its owners have."""
        self.start(tensors).finish()

    def add_back(self, tensors: Sequence[Tensor]) -> None:
        """The transpose of `exchange`: adds the halo to the planes of its owners, and leaves zero there."""
        gives = [_packed([part.read(one) for part, one in zip(side.take, tensors, strict=True)]) for side in self.sides]
        takes = [_room([part.size(one) for part, one in zip(side.give, tensors, strict=True)], tensors[0])
                 for side in self.sides]  # fmt: skip
        _wait(_post(self.slab, self.sides, gives, takes))
        for side, message in zip(self.sides, takes, strict=True):
            for part, one, values in zip(side.give, tensors, _unpacked(side.give, tensors, message), strict=True):
                part.write(one, part.read(one) + values)
            for part, one in zip(side.take, tensors, strict=True):
                part.write(one, one.new_zeros(part.size(one)))


class Pending:
    """An exchange on its way."""

    def __init__(self, border: Border, tensors: Sequence[Tensor], takes: list[Tensor], works: list[Any]) -> None:
        self.border, self.tensors, self.takes, self.works = border, tensors, takes, works

    def finish(self) -> None:
        """Writes what has arrived into the halo."""
        began = time.perf_counter()
        _wait(self.works)
        self.border.waited += time.perf_counter() - began
        for side, message in zip(self.border.sides, self.takes, strict=True):
            for part, one, values in zip(
                side.take, self.tensors, _unpacked(side.take, self.tensors, message), strict=True
            ):
                part.write(one, values)


def _packed(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def _room(sizes: Sequence[torch.Size], like: Tensor) -> Tensor:
    return like.new_empty(sum(size.numel() for size in sizes))


def _unpacked(parts: Sequence[_Part], tensors: Sequence[Tensor], message: Tensor) -> list[Tensor]:
    sizes = [part.size(one) for part, one in zip(parts, tensors, strict=True)]
    pieces = message.split([size.numel() for size in sizes])
    return [piece.reshape(size) for piece, size in zip(pieces, sizes, strict=True)]


def _plain(message: Tensor) -> Tensor:
    """A view without complex numbers, which not every backend sends."""
    return torch.view_as_real(message) if message.is_complex() else message


def _post(slab: Slab, sides: Sequence[_Side], gives: Sequence[Tensor], takes: Sequence[Tensor]) -> list[Any]:
    operations = []
    for side, give, take in zip(sides, gives, takes, strict=True):
        up = int(side.rank > slab.rank)
        operations += [
            dist.P2POp(dist.isend, _plain(give), side.rank, tag=up),
            dist.P2POp(dist.irecv, _plain(take), side.rank, tag=1 - up),
        ]
    try:
        return dist.batch_isend_irecv(operations) if operations else []
    except RuntimeError as error:
        raise _lost(error) from None


def _wait(works: Sequence[Any]) -> None:
    try:
        for work in works:
            work.wait()
    except RuntimeError as error:
        raise _lost(error) from None


def _lost(error: RuntimeError) -> LostProcessError:
    reason = (str(error).splitlines() or [""])[0]
    return LostProcessError(f"another process of this run has ended, its own message says why ({reason})")


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, planes: Tensor, slab: Slab, dim: int) -> Tensor:
        ctx.border = Border(slab, [Layout(dim, torch.arange(slab.first, slab.end))])
        found = planes.clone()
        ctx.border.exchange([found])
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        back = gradients[0].clone()
        ctx.border.add_back([back])
        return back, None, None


def exchanged(planes: Tensor, slab: Slab, dim: int = 0) -> Tensor:
    """Returns what a slab keeps, first .. end - 1 along `dim`, with the halo that its neighbours have; differentiable.

    The derivative is the transpose: what the halo asks for is added where its owner has it. Every process must call
    this, and the way back, in the same order.
    """
    found: Tensor = _Exchange.apply(planes, slab, dim)
    return found


def gathered(owned: Tensor, layout: Layout, everyone: Sequence[Slab], rank: int) -> Tensor | None:
    """Returns the whole tensor on the first process, None on the others, from what each owns of it.

    layout: of the whole.
    """
    mine = owned.contiguous()
    try:
        if rank:
            if mine.numel():
                dist.send(_plain(mine), dst=0)
            return None
        parts = [_Part.of(layout, slab.low, slab.high) for slab in everyone]
        shape = list(owned.shape)
        shape[layout.dim] = len(layout.planes)
        whole = owned.new_zeros(shape)
        parts[0].write(whole, mine)
        for other in range(1, len(everyone)):
            message = whole.new_empty(parts[other].size(whole))
            if message.numel():
                dist.recv(_plain(message), src=other)
                parts[other].write(whole, message)
        return whole
    except RuntimeError as error:
        raise _lost(error) from None


def summed(values: Tensor) -> Tensor:
    """Returns the sum over the processes, on every one of them."""
    found = values.detach().clone().contiguous()
    try:
        dist.all_reduce(_plain(found))
    except RuntimeError as error:
        raise _lost(error) from None
    return found
