"""BioViL's image encoder: a ResNet, and beside it what has changed since an earlier film (Bannur et al. 2023, fig. 2).

Without a pooler it is the encoder of BioViL, which knows one film alone: the ResNet's own maps.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hilum.parts.resnet import ResNet, ResNetSizes
from hilum.parts.temporal_pooler import PoolerSizes, TemporalPooler
from hilum.values.errors import BadInput

Films = Float[Tensor, "b 3 s s"]
Maps = Float[Tensor, "b d rows columns"]


class FilmTower(nn.Module):
    """Films to maps; the maps of two films to fused ones. `absent` stands for the change where there is no prior."""

    def __init__(self, sizes: ResNetSizes, pooler: PoolerSizes | None):
        super().__init__()
        self.resnet = ResNet(sizes)
        self.width = sizes.features
        if pooler is not None:
            self.width = 2 * pooler.dim
            self.narrow = nn.Conv2d(sizes.features, pooler.dim, kernel_size=1, bias=False)
            self.pooler = TemporalPooler(pooler)
            self.absent = nn.Parameter(torch.zeros(1, pooler.dim, 1, 1))
            nn.init.trunc_normal_(self.absent, std=0.02)
        self.compares = pooler is not None

    def forward(self, films: Films) -> Maps:
        """The costly pass: each film by itself."""
        maps = self.resnet(films)
        return self.narrow(maps) if self.compares else maps

    def fused(self, present: Maps, earlier: Maps | None = None, there: Bool[Tensor, " b"] | None = None) -> Maps:
        """The present films' maps beside their change; `there` says which of them have an earlier one (None: all)."""
        if not self.compares:
            if earlier is not None:
                raise BadInput("biovil knows no earlier film; ask biovil_t.biovil_t, which compares two")
            return present
        changed = self.absent.expand(len(present), -1, *present.shape[2:])
        if earlier is not None:
            which = slice(None) if there is None else there
            changed = changed.clone()
            changed[which] = self.pooler(present[which], earlier)
        return torch.cat([present, changed], dim=1)
