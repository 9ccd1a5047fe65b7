"""An optimizer whose float32 weights and states lie apart from the weights that compute: in more bits, on the host, or
dealt out over processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn, optim
from torch.distributed.tensor import DTensor

from mindsci.distributed.host import host_copy, host_tensor, local, on_host
from mindsci.errors import InputError

CHUNK = 1 << 22
"""Parameters that are updated at once: their gradients are in float32 for that long."""


class MasterOptimizer(optim.Optimizer):
    """Adam or AdamW on float32 copies of the weights, the masters; a step leaves their rounded values in the model.

    Only what this process holds of a weight is updated, so that shards and divided matrices are no special case. Where
    a weight itself is float32 and lies where its master should, it is its own master.

    Args:
        kind: torch.optim.Adam or AdamW.
        device: where the model computes.
        host: masters, moments and the update on the host: gradients leave as they come, before the backward pass has
            ended, unless they are still to be averaged (`early` False); weights come back while later ones are updated.
        dealt: processes that hold the same weights; each updates some of them and sends them to the others.
        shared: whether a weight is held by all processes of `dealt`; experts that travel are not.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | list[dict[str, Any]],
        kind: type[optim.Optimizer] = optim.AdamW,
        *,
        device: torch.device | str = "cpu",
        host: bool = False,
        early: bool = True,
        dealt: dist.ProcessGroup | None = None,
        shared: Callable[[nn.Parameter], bool] = lambda parameter: True,
        **options: Any,
    ) -> None:
        if kind not in (optim.Adam, optim.AdamW):
            raise InputError(f"{kind.__name__} has no masters: use torch.optim.Adam or AdamW")
        self.device, self.host, self.dealt = torch.device(device), host, dealt
        self.leaves = host and early
        """whether gradients have left the model's weights when a backward pass has ended"""
        groups = _grouped(parameters)
        self.weights: list[nn.Parameter] = [weight for group in groups for weight in group["params"]]
        self._shared = [dealt is not None and shared(weight) for weight in self.weights]
        self.owners = self._deal()
        here = 0 if dealt is None else dist.get_rank(dealt)
        self.own = [
            index
            for index, owner in enumerate(self.owners)
            if owner in (here, None) and local(self.weights[index]).numel()
        ]
        self.masters = {index: self._master(self.weights[index]) for index in self.own}
        if not self.own:
            raise InputError(f"{len(self.weights)} weights are too few for {len(set(self.owners))} owners or more")
        self._copies = _Copies(self.device) if host else None
        self.inner = kind(self._master_groups(groups), fused=True, **options)
        super().__init__(self.inner.param_groups, self.inner.defaults)
        self.param_groups, self.state = self.inner.param_groups, self.inner.state
        self._travelling: dict[int, Tensor] = {}
        self._arrived: set[int] = set()
        self._sums: dict[int, Tensor] = {}
        self._complete: set[int] = set()
        self._factor: Tensor | None = None
        if host:
            self._lay_out_moments()
            for index in self.own:
                weight = self.weights[index]
                self._travelling[index] = host_tensor(local(weight).shape, weight.dtype, self.device)
                if early:
                    weight.register_post_accumulate_grad_hook(self._leaves(index))

    def _master_groups(self, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        places = {id(weight): index for index, weight in enumerate(self.weights)}
        of_group = [[places[id(weight)] for weight in group["params"]] for group in groups]
        found = [
            group | {"params": [self.masters[index] for index in indices if index in self.masters]}
            for group, indices in zip(groups, of_group, strict=True)
        ]
        return [group for group in found if group["params"]]

    def _deal(self) -> list[int | None]:
        """Gives each shared weight to the process that has least so far, the largest first."""
        owners: list[int | None] = [None] * len(self.weights)
        if self.dealt is None:
            return owners
        loads = [0] * self.dealt.size()
        for index in sorted(range(len(owners)), key=lambda one: -self.weights[one].numel()):
            if self._shared[index]:
                owners[index] = loads.index(min(loads))
                loads[owners[index]] += self.weights[index].numel()  # type: ignore[index]
        return owners

    def _master(self, weight: nn.Parameter) -> nn.Parameter:
        mine = local(weight).detach()
        if self.host and not on_host(mine, self.device):
            return nn.Parameter(host_copy(mine, torch.float32))
        return nn.Parameter(mine.float())  # float32 already: the same memory

    def _lay_out_moments(self) -> None:
        """Adam makes its states at its first step, where it likes; here they go to the host pool."""
        for master in self.masters.values():
            moments = {name: host_tensor(master.shape, torch.float32, self.device) for name in MOMENTS}
            self.inner.state[master] = {
                "step": torch.zeros((), dtype=torch.float32),
                **{name: moment.zero_() for name, moment in moments.items()},
            }

    def _leaves(self, index: int) -> Callable[[Tensor], None]:
        def leave(weight: Tensor) -> None:
            self._send(index)
            weight.grad = None

        return leave

    def _send(self, index: int) -> None:
        """Starts the way of a gradient to the host; one that is still there from a backward pass before is added."""
        weight = self.weights[index]
        if weight.grad is None:
            return
        assert self._copies is not None
        if index in self._arrived:
            self._copies.wait(index)
            if index in self._sums:
                self._sums[index].add_(self._travelling[index])
            else:
                self._sums[index] = host_copy(self._travelling[index], torch.float32)
        self._copies.to_host(index, laid_out(weight), self._travelling[index])
        self._arrived.add(index)

    def _gradient(self, index: int) -> Tensor | None:
        """Returns the gradient in float32 beside its master."""
        if not self.host:
            weight = self.weights[index]
            found = None if weight.grad is None else laid_out(weight)
        else:
            found = self._sum(index)
        if found is None or self._factor is None:
            return None if found is None else found.float()
        return found.float() * self._factor.to(found.device)

    def _sum(self, index: int) -> Tensor | None:
        """Returns what has arrived of a gradient, that of all backward passes."""
        if index not in self._arrived:
            return None
        assert self._copies is not None
        self._copies.wait(index)
        if index not in self._sums:
            return self._travelling[index]
        if index not in self._complete:
            self._sums[index].add_(self._travelling[index])
            self._complete.add(index)
        return self._sums[index]

    def gradients(self) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Yields weights, and this process's part of their gradients where that lies; no backward pass may follow."""
        if self.host:
            for index in self.own:  # those that no hook has sent
                self._send(index)
        for index in self.own:
            weight = self.weights[index]
            found = self._sum(index) if self.host else None if weight.grad is None else laid_out(weight)
            if found is not None:
                yield weight, found

    def scale(self, factor: Tensor) -> None:
        """Multiplies the gradients of the next step, once these are in float32."""
        self._factor = factor

    def _chunks(self) -> Iterator[list[int]]:
        chunk, size = [], 0
        for index in self.own:
            chunk.append(index)
            size += self.masters[index].numel()
            if size >= CHUNK:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Updates the masters, and the weights by them; forgets the gradients that left for the host."""
        if closure is not None:
            raise InputError("MasterOptimizer.step takes no closure: call it after backward()")
        if self.host:
            for index in self.own:  # those that no hook has sent
                self._send(index)
        for chunk in self._chunks():
            for index in chunk:
                self.masters[index].grad = self._gradient(index)
            self.inner.step()
            for index in chunk:
                if self.masters[index].grad is not None:
                    self.masters[index].grad = None
                    self._return(index)
        self._forget()
        self._share_out()
        if self._copies is not None:
            self._copies.join()

    def _return(self, index: int) -> None:
        """Rounds a master into its weight."""
        weight, master = local(self.weights[index]).detach(), self.masters[index].detach()
        if weight.data_ptr() == master.data_ptr():
            return
        if self._copies is None:
            weight.copy_(master)
            return
        # Rounded on the host: half of the bytes travel. The gradient that lay there has been used.
        self._copies.to_device(index, self._travelling[index].copy_(master), weight)

    def _share_out(self) -> None:
        if self.dealt is None:
            return
        if self._copies is not None:
            self._copies.join()
        for index, owner in enumerate(self.owners):
            if owner is not None:
                dist.broadcast(local(self.weights[index]).detach(), group=self.dealt, group_src=owner)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients, those that left for the host too."""
        for weight in self.weights:
            weight.grad = None
        self._forget()

    def _forget(self) -> None:
        self._arrived.clear()
        self._sums.clear()
        self._complete.clear()
        self._factor = None

    def gradients_on_host(self) -> list[Tensor]:
        """Returns where gradients arrive, and their sums over several backward passes."""
        return [*self._travelling.values(), *self._sums.values()]

    def state_dict(self) -> dict[str, Any]:
        """Returns the masters and the states of this process."""
        return {"masters": [master.detach() for master in self.masters.values()], "optimizer": self.inner.state_dict()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what `state_dict` returned in as many processes; the weights follow."""
        for index, saved in zip(self.own, state["masters"], strict=True):
            self.masters[index].copy_(saved)
            self._return(index)
        if self.host:  # in their places: moments stay where they were laid out
            for master, saved in zip(self.masters.values(), state["optimizer"]["state"].values(), strict=True):
                for name, value in saved.items():
                    self.inner.state[master][name].copy_(value)
        else:
            self.inner.load_state_dict(state["optimizer"])
        self._share_out()
        if self._copies is not None:
            self._copies.join()


def _grouped(parameters: Iterable[nn.Parameter] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    listed: list[Any] = list(parameters)
    groups = listed if listed and isinstance(listed[0], dict) else [{"params": listed}]
    return [group | {"params": [weight for weight in group["params"] if weight.requires_grad]} for group in groups]


def laid_out(weight: nn.Parameter) -> Tensor:
    """Returns this process's part of a weight's gradient: DTensor leaves some whole, or as sums to be taken."""
    gradient = weight.grad
    assert gradient is not None
    if isinstance(gradient, DTensor) and isinstance(weight, DTensor) and gradient.placements != weight.placements:
        gradient = gradient.redistribute(placements=weight.placements)
    return local(gradient)


MOMENTS = ("exp_avg", "exp_avg_sq")


class _Copies:
    """Copies between device and host; beside a GPU on a stream of their own, one each way."""

    def __init__(self, device: torch.device) -> None:
        cuda = device.type == "cuda"
        self._out, self._back = (torch.cuda.Stream(device) if cuda else None for _ in range(2))
        self._events: dict[int, torch.cuda.Event] = {}

    def to_host(self, key: int, source: Tensor, target: Tensor) -> None:
        if self._out is None or source.device.type == "cpu":  # shards of streamed weights are on the host
            target.copy_(source)
            return
        self._out.wait_stream(torch.cuda.current_stream(source.device))
        with torch.cuda.stream(self._out):
            target.copy_(source, non_blocking=True)
            self._events[key] = self._out.record_event()
        source.record_stream(self._out)  # its memory must not be given away before the copy is done

    def wait(self, key: int) -> None:
        """Waits for a tensor on its way to the host."""
        if key in self._events:
            self._events.pop(key).synchronize()

    def to_device(self, key: int, source: Tensor, target: Tensor) -> None:
        if self._back is None:
            target.copy_(source)
            return
        # The weights were last read by the backward pass, which the compute stream may still be in.
        self._back.wait_stream(torch.cuda.current_stream(target.device))
        with torch.cuda.stream(self._back):
            target.copy_(source, non_blocking=True)

    def join(self) -> None:
        """Makes the device wait for weights on their way; the host does not."""
        if self._back is not None:
            torch.cuda.current_stream(self._back.device).wait_stream(self._back)
