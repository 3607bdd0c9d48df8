"""The encoder of a model: what stands between its inputs and the first layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatewright.spec import Category, ModelSpec, SymbolEncoder


class Embedding(nn.Embedding):
    """A table of vectors, whose initial values are drawn only where there is memory for them.

    On the meta device torch would import its compiler to draw normal numbers, which takes a second.
    """

    def reset_parameters(self) -> None:
        """Draw the initial vectors."""
        if not self.weight.is_meta:
            super().reset_parameters()


class CategoryEncoder(nn.Module):
    """Learned vectors of categories, in place of their indices.

    The unknown value, index 0, starts as zeros: it says nothing before it has learned something.

    Args:
        places: the categories, and where a row of inputs has their indices, in the order of the row.

    >>> encoder = CategoryEncoder([(Category("kind", ("rain", "sun"), size=2), slice(1, 2))])
    >>> x = torch.tensor([[[0.5, 0.0, -1.0]]])  # a number, an unknown kind, a number
    >>> encoder(x)[0, 0].tolist()
    [0.5, 0.0, 0.0, -1.0]
    """

    def __init__(self, places: list[tuple[Category, slice]]) -> None:
        super().__init__()
        self._places = [place for _, place in places]
        self.category = nn.ModuleList(Embedding(each.count, each.size) for each, _ in places)
        with torch.no_grad():
            for embedding in self.category:
                embedding.get_parameter("weight")[0].zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return inputs (T, B, D) with the vectors, from inputs with the indices."""
        parts, end = [], 0
        for place, embedding in zip(self._places, self.category, strict=True):
            parts += [x[..., end : place.start], embedding(x[..., place].long()).flatten(-2)]
            end = place.stop
        return torch.cat([*parts, x[..., end:]], dim=-1)


def encoder_of(spec: ModelSpec) -> nn.Module:
    """Return the encoder of a new model: vectors of symbols or of categories, or nothing to learn."""
    encoder = spec.encoder
    if encoder.symbols:
        return Embedding(encoder.symbols, encoder.input_size(spec.head.horizon))
    if isinstance(encoder, SymbolEncoder) or not encoder.categories:
        return nn.Identity()
    return CategoryEncoder(encoder.category_places(spec.head.horizon))
