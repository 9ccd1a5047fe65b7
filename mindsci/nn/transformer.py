"""A decoder that predicts the next token, dense or with mixtures of experts [Vaswani2017; Fedus2022]."""

from __future__ import annotations

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from mindsci.errors import InputError
from mindsci.nn.moe import MixtureOfExperts, RoutingReport


class Transformer(nn.Module):
    """Pre-norm decoder: RMS norms [Zhang2019], rotary positions [Su2024], causal attention, no biases, no dropout.

    Args:
        vocabulary, features, heads, layers: the usual sizes; features is a multiple of 2 * heads.
        hidden: width inside a feed-forward network; 0 takes 4 * features.
        experts, choices, capacity_factor: of each mixture; experts = 0 makes all layers dense.
        every: one layer in `every` is a mixture, the last of each such run of layers.
        group: processes that share the experts of each mixture.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        features: int,
        heads: int,
        layers: int,
        hidden: int = 0,
        experts: int = 0,
        choices: int = 2,
        capacity_factor: float | None = None,
        every: int = 1,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        if min(vocabulary, features, heads, layers, every) < 1 or features % (2 * heads):
            raise InputError(
                f"Transformer with vocabulary = {vocabulary}, features = {features}, heads = {heads}, "
                f"layers = {layers}, every = {every}: use positive numbers, features a multiple of 2 * heads"
            )
        hidden = hidden or 4 * features
        self.config = {
            "vocabulary": vocabulary,
            "features": features,
            "heads": heads,
            "layers": layers,
            "hidden": hidden,
            "experts": experts,
            "choices": choices,
            "capacity_factor": capacity_factor,
            "every": every,
        }
        self.embedding = nn.Embedding(vocabulary, features)
        blocks = []
        for layer in range(layers):
            mixed = experts and layer % every == every - 1
            made = (
                MixtureOfExperts(
                    features, hidden, experts=experts, choices=choices, capacity_factor=capacity_factor, group=group
                )
                if mixed
                else FeedForward(features, hidden)
            )
            blocks.append(Block(features, heads, made))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.RMSNorm(features)
        self.head = nn.Linear(features, vocabulary, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=features**-0.5)

    def forward(
        self, tokens: Int[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, "batch length vocabulary"], list[RoutingReport]]:
        """Returns the logits of each next token, and the report of each mixture."""
        x, reports = self.embedding(tokens), []
        for block in self.blocks:
            x, report = block(x)
            reports += [report] if report is not None else []
        return self.head(self.norm(x)), reports


class Block(nn.Module):
    """x + attention(norm x), then x + feed-forward(norm x)."""

    def __init__(self, features: int, heads: int, feed_forward: nn.Module) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(features) for _ in range(2))
        self.attention, self.feed_forward = Attention(features, heads), feed_forward

    def forward(self, x: Tensor) -> tuple[Tensor, RoutingReport | None]:
        x = x + self.attention(self.norms[0](x))
        found = self.feed_forward(self.norms[1](x))
        y, report = found if isinstance(found, tuple) else (found, None)
        return x + y, report


class FeedForward(nn.Module):
    """gelu(x W_up) W_down."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(features, hidden, bias=False)
        self.down = nn.Linear(hidden, features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(gelu(self.up(x)))


class Attention(nn.Module):
    """Causal attention of several heads, with rotary positions."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.width = features // heads
        self.inward = nn.Linear(features, 3 * features, bias=False)
        self.outward = nn.Linear(features, features, bias=False)

    def forward(self, x: Float[Tensor, "batch length features"]) -> Float[Tensor, "batch length features"]:
        batch, length, _ = x.shape
        # Query, key and value of a head lie side by side: where heads are spread over processes, each has its own.
        parts = self.inward(x).reshape(batch, length, -1, 3, self.width).permute(3, 0, 2, 1, 4)
        query, key = rotated(parts[:2])
        y = scaled_dot_product_attention(query, key, parts[2], is_causal=True)
        return self.outward(y.transpose(1, 2).reshape(batch, length, -1))


def rotated(x: Float[Tensor, "*batch length width"]) -> Float[Tensor, "*batch length width"]:
    """Turns feature pairs (k, k + width / 2) of position p by p * 10000^(-2 k / width) [Su2024, eq. 15]."""
    length, width = x.shape[-2:]
    frequency = 1e4 ** (-torch.arange(0, width, 2, device=x.device, dtype=torch.float32) / width)
    angle = torch.arange(length, device=x.device, dtype=torch.float32)[:, None] * frequency
    cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
