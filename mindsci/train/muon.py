"""Muon: the momentum of a matrix, orthogonalised; other parameters by AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, optim
from torch.optim.adamw import adamw

# Coefficients of the quintic of [Jordan2024]: singular values of 0.003 to 1 come to 0.7 to 1.2 in five steps.
QUINTIC, N_STEPS = (3.4445, -4.7750, 2.0315), 5
MOMENTUM = 0.95
# The root mean square of an entry of Adam's update in practice, which a shared learning rate asks for [Liu2025, eq. 4].
USUAL_SIZE = 0.2


class Muon(optim.Optimizer):
    """Muon [Jordan2024] on parameters with two axes, AdamW [Loshchilov2019] on the others, at one learning rate.

    torch.optim.Muon knows matrices alone, and iterates in bfloat16, which a CPU without such products computes some
    ten times slower than float32: here matrices of one shape are iterated together, in bfloat16 on a GPU alone.
    """

    def __init__(
        self,
        parameters: Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        fused: bool = True,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0, "fused": fused})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Takes one step along the gradients that are there."""
        for group in self.param_groups:
            used = [parameter for parameter in group["params"] if parameter.grad is not None]
            matrices = [parameter for parameter in used if parameter.ndim == 2 and not parameter.is_complex()]
            for shape in dict.fromkeys(parameter.shape for parameter in matrices):
                self._orthogonal([parameter for parameter in matrices if parameter.shape == shape], group)
            self._adamw([parameter for parameter in used if parameter.ndim != 2 or parameter.is_complex()], group)

    def _orthogonal(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1.0 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        updates = orthogonalised(torch.stack(ahead))
        size = USUAL_SIZE * max(parameters[0].shape) ** 0.5
        torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, list(updates.to(parameters[0].dtype)), alpha=-group["lr"] * size)

    def _adamw(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        if not parameters:
            return
        adamw(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            max_exp_avg_sqs=[],
            state_steps=[state["step"] for state in states],
            fused=group["fused"],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=0.0,  # biases, norms and the like have no scale to shrink
            eps=group["eps"],
            maximize=False,
        )


def orthogonalised(matrices: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch rows columns"]:
    """Returns the nearest orthogonal matrices, nearly: U S V^T with S between 0.7 and 1.2 [Jordan2024]."""
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    if x.is_cuda:
        x = x.to(torch.bfloat16)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    a, b, c = QUINTIC
    for _ in range(N_STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.mT


def centralise(parameters: Iterable[Tensor]) -> None:
    """Takes from the gradient of each matrix the mean of each of its rows: gradient centralisation [Yong2020]."""
    for parameter in parameters:
        if parameter.grad is not None and parameter.ndim > 1:
            parameter.grad -= parameter.grad.mean(dim=tuple(range(1, parameter.ndim)), keepdim=True)
