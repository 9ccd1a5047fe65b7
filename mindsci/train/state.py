"""What a training holds in tensors, each under one name and as a part of the whole, wherever its processes keep it."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn, optim
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from mindsci.errors import InputError
from mindsci.nn import MixtureOfExperts
from mindsci.train.average import Average
from mindsci.train.checkpoint import Stored

WRAPPERS = ("_checkpoint_wrapped_module.", "_orig_mod.")
"""what torch puts into the names of parameters whose module recomputes or is compiled"""


class State:
    """The tensors of a training: weights, moments of the optimizer, averaged and best weights.

    Parameters that processes share as DTensors are such here; so are the experts that each process holds a part of.
    """

    def __init__(self, model: nn.Module, optimizer: optim.Optimizer, average: Average | None) -> None:
        self.model, self.average = model, average
        # An optimizer whose states are dealt out over the processes keeps those of this one in an optimizer of its own.
        self.optimizer: optim.Optimizer = getattr(optimizer, "optim", optimizer)
        self._names = {id(parameter): _plain(name) for name, parameter in model.named_parameters()}
        self._shared = _shared_experts(model)

    def tensors(self, best: dict[str, Tensor] | None) -> dict[str, Tensor]:
        """Returns all tensors; every process must ask for them, and holds its part."""
        found = self._weights("model", self.model.state_dict())
        for name, parameter in self._updated():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"optimizer.{name}.{key}"] = self._part(name, value, parameter)
        if self.average is not None:
            found |= self._weights("average", self._averages(self.average))
        return found | self._weights("best", best or {})

    def restore(self, stored: Stored, group: Any) -> dict[str, Tensor] | None:
        """Takes up a checkpoint's tensors in place; returns the best weights, if it has some.

        Every process must call it. Raises InputError where they are those of another model or optimizer.
        """
        wanted = self._weights("model", self.model.state_dict())
        if self.average is not None:
            wanted |= self._weights("average", self._averages(self.average))
        best = None
        if any(name.startswith("best.") for name in stored.shapes):
            best = {name: torch.empty_like(value, device="cpu") for name, value in self.model.state_dict().items()}
            wanted |= self._weights("best", best)
        _check(stored, wanted)
        self.optimizer.state.clear()
        for name, parameter in self._updated():
            prefix = f"optimizer.{name}."
            keys = [key for key in stored.shapes if key.startswith(prefix) and "." not in key[len(prefix) :]]
            for key in keys:
                moment = _room(stored, key, parameter)
                self.optimizer.state[parameter][key[len(prefix) :]] = moment
                wanted[key] = self._part(name, moment, parameter)
        stored.read(wanted, group)
        return best

    def whole(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns weights of the model's `state_dict` in full, on the host; every process must call it."""
        shared = self._weights("", weights)
        return {
            name: _full(shared[f".{name}"]).detach().cpu().clone(memory_format=torch.contiguous_format)
            for name in weights
        }

    def _updated(self) -> list[tuple[str, Tensor]]:
        groups = self.optimizer.param_groups
        return [(self._names[id(parameter)], parameter) for group in groups for parameter in group["params"]]

    def _averages(self, average: Average) -> dict[str, Tensor]:
        names = (self._names[id(parameter)] for parameter in self.model.parameters())
        return dict(zip(names, average.values, strict=True))

    def _weights(self, kind: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {f"{kind}.{name}": self._part(name, value) for name, value in values.items()}

    def _part(self, name: str, value: Tensor, parameter: Tensor | None = None) -> Tensor:
        """The value as a part of the whole: experts of this process among all."""
        mesh = self._shared.get(name)
        if mesh is None or (parameter is not None and value.shape != parameter.shape):
            return value
        return DTensor.from_local(value, mesh, [Shard(0)], run_check=False)


def _plain(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _shared_experts(model: nn.Module) -> dict[str, DeviceMesh]:
    meshes: dict[int, DeviceMesh] = {}
    found = {}
    for place, module in model.named_modules():
        if isinstance(module, MixtureOfExperts) and module.world > 1:
            assert isinstance(module.group, dist.ProcessGroup)
            device = next(module.parameters()).device.type
            mesh = meshes.setdefault(id(module.group), DeviceMesh.from_group(module.group, device))
            for name, _ in module.experts.named_parameters(prefix=f"{place}.experts" if place else "experts"):
                found[_plain(name)] = mesh
    return found


def _room(stored: Stored, name: str, parameter: Tensor) -> Tensor:
    """An empty tensor for a moment of a parameter: spread as the parameter, or a number beside it."""
    dtype, shape = stored.dtype(name), stored.shapes[name]
    if shape == ():
        return torch.empty((), dtype=dtype, device=parameter.device)
    return torch.empty_like(parameter, dtype=dtype, requires_grad=False)


def _check(stored: Stored, wanted: dict[str, Tensor]) -> None:
    kinds = {name.partition(".")[0] for name in wanted}
    there = {name: shape for name, shape in stored.shapes.items() if name.partition(".")[0] in kinds}
    here = {name: tuple(value.shape) for name, value in wanted.items()}
    if there != here:
        name = min(set(there.items()) ^ set(here.items()))[0]
        raise InputError(
            f"the checkpoint belongs to another model: {name} has shape {there.get(name, 'none')} there and "
            f"{here.get(name, 'none')} here; resume with the same case"
        )


def _full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
