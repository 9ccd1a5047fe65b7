"""What a training holds in tensors, each under one name and as a part of the whole, wherever its processes keep it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn, optim
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard

from mindsci.distributed import MasterOptimizer
from mindsci.distributed.host import local
from mindsci.errors import InputError
from mindsci.nn import MixtureOfExperts
from mindsci.train.average import Average
from mindsci.train.checkpoint import Stored
from mindsci.train.parallel import Group

WRAPPERS = ("_checkpoint_wrapped_module.", "_orig_mod.")
"""what torch puts into the names of parameters whose module recomputes or is compiled"""


class State:
    """The tensors of a training: weights, moments of the optimizer, averaged and best weights.

    Parameters that processes share as DTensors are such here; so are the experts that each process holds a part of.

    Args:
        stages: the processes of a pipeline, each with layers of its own.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: optim.Optimizer,
        average: Average | None,
        stages: dist.ProcessGroup | None = None,
    ) -> None:
        self.model, self.average, self._stages = model, average, stages
        # An optimizer whose states are dealt out over the processes keeps those of this one in an optimizer of its own.
        self.optimizer: optim.Optimizer = getattr(optimizer, "optim", optimizer)
        self._names = {id(parameter): _plain(name) for name, parameter in model.named_parameters()}
        self._experts = _shared_experts(model)

    def tensors(self, best: dict[str, Tensor] | None) -> dict[str, Tensor]:
        """Returns all tensors; every process must ask for them, and holds its part."""
        found = self._of_model(best)
        for name, weight, updated in self._updated():
            for key, value in self.optimizer.state.get(updated, {}).items():
                found[f"optimizer.{name}.{key}"] = self._part(name, value, weight)
        return found

    def restore(self, stored: Stored, group: Group) -> dict[str, Tensor] | None:
        """Takes up a checkpoint's tensors in place; returns the best weights, if it has some.

        Every process must call it. Raises InputError where they are those of another model or optimizer.
        """
        best = None
        if any(name.startswith("best.") for name in stored.shapes):
            best = {name: torch.empty_like(value, device="cpu") for name, value in self.model.state_dict().items()}
        wanted = self._of_model(best)
        _check(stored, wanted, self._everywhere({name: tuple(value.shape) for name, value in wanted.items()}))
        for name, weight, updated in self._updated():
            prefix = f"optimizer.{name}."
            keys = [key[len(prefix) :] for key in stored.shapes if key.startswith(prefix)]
            state = self.optimizer.state[updated]
            for key in keys:
                if "." in key:  # of a longer name that begins with this one
                    continue
                if key not in state:  # otherwise it lies where the optimizer wants it
                    state[key] = _room(stored, prefix + key, updated)
                wanted[prefix + key] = self._part(name, state[key], weight)
        stored.read(wanted, group)
        return best

    def copies(self, weight: Tensor) -> int:
        """Returns how many processes hold the same part of a weight."""
        parts = 1 if self._stages is None else self._stages.size()
        held = self._experts.get(self._names[id(weight)])
        if held is not None:
            parts = held[0].size()
        elif isinstance(weight, DTensor):
            for placement, size in zip(weight.placements, weight.device_mesh.shape, strict=True):
                parts *= 1 if isinstance(placement, Replicate) else size
        world = dist.get_world_size() if dist.is_initialized() else 1
        return world // parts

    def divides(self, weights: Iterable[Tensor]) -> bool:
        """Returns whether this process holds something of some weights that another does not; all get the same."""
        world = dist.get_world_size() if dist.is_initialized() else 1
        return world > 1 and any(self.copies(weight) < world for weight in weights)

    def whole(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns weights of the model's `state_dict` in full, on the host; every process must call it.

        Those of all stages of a pipeline.
        """
        shared = self._weights("", weights)
        here = {
            name: _full(shared[f".{name}"]).detach().cpu().clone(memory_format=torch.contiguous_format)
            for name in weights
        }
        if self._stages is None:
            return here
        everyone: list[Any] = [None] * self._stages.size()
        dist.all_gather_object(
            everyone, {name: (value.shape, value.dtype) for name, value in here.items()}, group=self._stages
        )
        found = {}
        for stage, kinds in enumerate(everyone):
            for name, (shape, dtype) in kinds.items():
                found[name] = here[name] if name in here else torch.empty(shape, dtype=dtype)
                dist.broadcast(found[name], group=self._stages, group_src=stage)
        return found

    def _everywhere(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of all stages of a pipeline."""
        if self._stages is None:
            return shapes
        everyone: list[Any] = [None] * self._stages.size()
        dist.all_gather_object(everyone, shapes, group=self._stages)
        return {name: shape for one in everyone for name, shape in one.items()}

    def _of_model(self, best: dict[str, Tensor] | None) -> dict[str, Tensor]:
        found = self._weights("model", self.model.state_dict()) | self._weights("best", best or {})
        if self.average is not None:
            names = (self._names[id(parameter)] for parameter in self.model.parameters())
            found |= self._weights("average", dict(zip(names, self.average.values, strict=True)))
        if isinstance(self.optimizer, MasterOptimizer):
            for name, weight, master in self._updated():
                found[f"master.{name}"] = self._part(name, master.detach(), weight)
        return found

    def _updated(self) -> list[tuple[str, Tensor, Tensor]]:
        """The name of each weight that this process updates, the weight, and what the optimizer takes for it."""
        optimizer = self.optimizer
        if isinstance(optimizer, MasterOptimizer):
            weights = optimizer.weights
            return [(self._names[id(weights[i])], weights[i], optimizer.masters[i]) for i in optimizer.own]
        return [
            (self._names[id(weight)], weight, weight) for group in optimizer.param_groups for weight in group["params"]
        ]

    def _weights(self, kind: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {f"{kind}.{name}": self._part(name, value) for name, value in values.items()}

    def _part(self, name: str, value: Tensor, weight: Tensor | None = None) -> Tensor:
        """The value as a part of the whole: of a sharded weight, or of an expert of this process among all."""
        if weight is not None and local(value).shape != local(weight).shape:
            return value
        if name in self._experts:
            mesh, placements = self._experts[name]
            return DTensor.from_local(local(value), mesh, placements, run_check=False)
        if isinstance(value, DTensor):
            return value
        if isinstance(weight, DTensor):
            return DTensor.from_local(
                value,
                weight.device_mesh,
                weight.placements,
                run_check=False,
                shape=weight.shape,
                stride=weight.stride(),
            )
        return value


def _plain(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _shared_experts(model: nn.Module) -> dict[str, tuple[DeviceMesh, list[Placement]]]:
    """Where the experts that several processes share lie: over which processes, and along which dimensions."""
    meshes: dict[int, DeviceMesh] = {}
    found: dict[str, tuple[DeviceMesh, list[Placement]]] = {}
    for place, module in model.named_modules():
        if isinstance(module, MixtureOfExperts) and module.world > 1:
            if id(module.group) not in meshes:
                meshes[id(module.group)] = _mesh_of_experts(module)
            for name, weight in module.experts.named_parameters(prefix=f"{place}.experts" if place else "experts"):
                inside = weight.placements if isinstance(weight, DTensor) else ()
                found[_plain(name)] = meshes[id(module.group)], [Shard(0), *inside]
    return found


def _mesh_of_experts(module: MixtureOfExperts) -> DeviceMesh:
    assert isinstance(module.group, dist.ProcessGroup)
    device = next(module.parameters()).device.type
    if module.parts is None:
        return DeviceMesh.from_group(module.group, device)
    table = torch.arange(dist.get_world_size()).view(module.world, module.parts.size())
    return DeviceMesh.from_group([module.group, module.parts], device, mesh=table, mesh_dim_names=("data", "tensor"))


def _room(stored: Stored, name: str, parameter: Tensor) -> Tensor:
    """An empty tensor for a moment of a parameter: spread as the parameter, or a number beside it."""
    dtype, shape = stored.dtype(name), stored.shapes[name]
    if shape == ():
        return torch.empty((), dtype=dtype, device=parameter.device)
    return torch.empty_like(parameter, dtype=dtype, requires_grad=False)


def _check(stored: Stored, wanted: dict[str, Tensor], here: dict[str, tuple[int, ...]]) -> None:
    kinds = {name.partition(".")[0] for name in wanted}
    # Masters of other weights lie on other processes.
    there = {name: shape for name, shape in stored.shapes.items() if name.partition(".")[0] in kinds - {"master"}}
    there |= {name: stored.shapes.get(name, ()) for name in here if name.startswith("master.")}
    if there != here:
        name = min(set(there.items()) ^ set(here.items()))[0]
        raise InputError(
            f"the checkpoint belongs to another model: {name} has shape {there.get(name, 'none')} there and "
            f"{here.get(name, 'none')} here; resume with the same case"
        )


def _full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
