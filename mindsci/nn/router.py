"""Which experts a token goes to, and the losses that keep experts equally busy [Shazeer2017; Fedus2022; Zoph2022]."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mindsci.errors import InputError
from mindsci.tree import Tree


class Routing(Tree):
    """The experts of each token, best first."""

    experts: Int[Tensor, "tokens choices"]
    weights: Float[Tensor, "tokens choices"]
    """what each expert's answer counts, float32"""
    probabilities: Float[Tensor, "tokens experts"]
    """softmax of the logits, float32"""
    z_loss: Float[Tensor, ""]
    """mean of (log sum exp logits)^2 [Zoph2022, eq. 5]: keeps logits small"""

    def shares(self) -> Float[Tensor, " experts"]:
        """Returns the share of all choices that each expert got; it has no gradient."""
        return counted(self.experts.flatten(), self.probabilities.shape[1]).float() / max(self.experts.numel(), 1)

    def balance_loss(self, shares: Float[Tensor, " experts"]) -> Float[Tensor, ""]:
        """Returns N sum_i f_i P_i [Fedus2022, eq. 4]: 1 where choices and probabilities are even over N experts.

        With `shares` of the tokens of all processes, the mean of it over processes with as many tokens each is the loss
        of all tokens together.
        """
        return len(shares) * (shares * self.probabilities.mean(0)).sum()


class Router(nn.Module):
    """Sends each token to the `choices` experts of highest probability.

    The weights of the chosen are their probabilities, divided by their sum where there are more than one [Shazeer2017];
    with one choice it is the probability itself, without which the router would learn nothing.
    Logits and softmax are float32 whatever the dtype of the tokens [Fedus2022, section 2.4].
    """

    def __init__(self, features: int, experts: int, *, choices: int = 2) -> None:
        super().__init__()
        if features < 1 or not 1 <= choices <= experts:
            raise InputError(
                f"Router with features = {features}, experts = {experts}, choices = {choices}: use 1 feature or more "
                "and 1 to `experts` choices"
            )
        self.choices = choices
        self.linear = nn.Linear(features, experts, bias=False)
        nn.init.normal_(self.linear.weight, std=features**-0.5)

    def forward(self, tokens: Float[Tensor, "tokens features"]) -> Routing:
        weight = self.linear.weight
        precise = torch.promote_types(tokens.dtype, torch.float32)
        # Not under autocast: in bfloat16 two experts of nearly equal probability change places.
        with torch.autocast(tokens.device.type, enabled=False):
            logits = tokens.to(precise) @ weight.to(precise).mT
            probabilities = torch.softmax(logits, dim=-1)
            weights, experts = probabilities.topk(self.choices, dim=-1)
            if self.choices > 1:
                weights = weights / weights.sum(-1, keepdim=True)
            z_loss = torch.logsumexp(logits, dim=-1).square().mean()
        return Routing(experts=experts, weights=weights, probabilities=probabilities, z_loss=z_loss)


def counted(experts: Int[Tensor, " choices"], n_experts: int) -> Int[Tensor, " experts"]:
    """Returns how often each expert is chosen; unlike bincount also for tensors without numbers."""
    return experts.new_zeros(n_experts).index_add(0, experts, torch.ones_like(experts))
