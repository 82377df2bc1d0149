"""Frequency: what an image holds at each scale, taking bands away, and a Haar-wavelet side branch for encoders.

Transformers pass low frequencies on and smooth the high ones away (Park and Kim 2022, sec. 3), which the survey calls
an open problem for vessels and speckle. Frequencies are in cycles per pixel, 0 to 0.5 along an axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hilum.values.errors import BadInput


def radii(height: int, width: int) -> Float[np.ndarray, "h w"]:
    """Distance from frequency zero of each coefficient of `np.fft.fft2`, in cycles per pixel."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])


def radial_spectrum(plane: Float[np.ndarray, "h w"], *, bins: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Middle of each ring (cycles per pixel, up to 0.5) and the share of the plane's variance in it.

    The plane is windowed (Hann) and its mean taken off, or the border's jump would look like high frequencies.
    """
    height, width = plane.shape
    hann = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    power = np.abs(np.fft.fft2((plane - plane.mean()) * hann)) ** 2
    edges = np.linspace(0, 0.5, bins + 1)
    place = np.digitize(radii(height, width).ravel(), edges) - 1
    sums = np.bincount(place, weights=power.ravel(), minlength=bins + 1)[:bins]
    return (edges[1:] + edges[:-1]) / 2, sums / max(power.sum(), 1e-12)


def without_band(
    plane: Float[np.ndarray, "*c h w"], low: float, high: float, *, soft: float = 0.02
) -> Float[np.ndarray, "*c h w"]:
    """The plane with frequencies low..high taken away; flanks are half a cosine of width `soft`, so it rings little.

    Mirrored at the borders first, which have no other side. The mean stays unless `low` is below zero.
    """
    height, width = plane.shape[-2:]
    pad = [(0, 0)] * (plane.ndim - 2) + [(0, height), (0, width)]
    mirrored = np.pad(plane, pad, mode="symmetric")
    radius = radii(2 * height, 2 * width)
    inside = flank(radius - low, soft) * flank(high - radius, soft)
    kept = np.fft.ifft2(np.fft.fft2(mirrored) * (1 - inside)).real
    return np.ascontiguousarray(kept[..., :height, :width]).astype(plane.dtype)


def flank(distance: Float[np.ndarray, "h w"], soft: float) -> Float[np.ndarray, "h w"]:
    """0 below -soft/2, 1 above soft/2, half a cosine between."""
    share = np.clip(distance / max(soft, 1e-9) + 0.5, 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * share)


def haar(x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c u v"], Float[Tensor, "b d u v"]]:
    """One level of the orthonormal Haar transform (Mallat 1989): the smooth half-size image, and its 3 c details.

    Details come as all channels of the row, then of the column, then of the diagonal differences. Sides must be even.
    """
    even, odd = x[..., ::2, :], x[..., 1::2, :]
    high, low = (even - odd), (even + odd)
    smooth = (low[..., ::2] + low[..., 1::2]) / 2
    across = (low[..., ::2] - low[..., 1::2]) / 2
    down, both = (high[..., ::2] + high[..., 1::2]) / 2, (high[..., ::2] - high[..., 1::2]) / 2
    return smooth, torch.cat([down, across, both], 1)


def unhaar(smooth: Float[Tensor, "b c u v"], details: Float[Tensor, "b d u v"]) -> Float[Tensor, "b c h w"]:
    """Undoes `haar`."""
    down, across, both = details.chunk(3, 1)
    corners = [
        smooth + down + across + both,
        smooth + down - across - both,
        smooth - down + across - both,
        smooth - down - across + both,
    ]  # even and odd rows of even and odd columns
    return F.pixel_shuffle(torch.stack(corners, 2).flatten(1, 2) / 2, 2)


class HaarBranch(nn.Module):
    """All Haar details of the pixels under a patch, through a narrow layer, to be added to the patch's embedding.

    Zero at birth, so that a fresh branch changes nothing. The patch's side must be a power of two.
    """

    def __init__(self, channels: int, patch: int, width: int, hidden: int = 32):
        super().__init__()
        self.levels = round(math.log2(patch))
        if 2**self.levels != patch:
            raise BadInput(f"a Haar branch wants patches whose side is a power of two, got {patch}")
        self.patch = patch
        folded = sum(3 * channels * (patch >> level) ** 2 for level in range(1, self.levels + 1))
        self.narrow = nn.Conv2d(folded, hidden, 1)
        self.widen = nn.Conv2d(hidden, width, 1)
        for born_zero in self.widen.parameters():
            nn.init.zeros_(born_zero)

    def forward(self, pixels: Float[Tensor, "b c height width"]) -> Float[Tensor, "b d h w"]:
        return self.widen(F.gelu(self.narrow(self.details(pixels))))

    def details(self, pixels: Float[Tensor, "b c height width"]) -> Float[Tensor, "b f h w"]:
        """Details of every level, those of a patch side by side as channels."""
        folded, smooth = [], pixels
        for level in range(1, self.levels + 1):
            smooth, details = haar(smooth)
            folded.append(F.pixel_unshuffle(details, self.patch >> level))
        return torch.cat(folded, 1)


class PatchesAndDetails(nn.Module):
    """A patch embedding with a Haar branch beside it; the embedding's own weights keep their names under `host`."""

    def __init__(self, host: nn.Module, branch: HaarBranch):
        super().__init__()
        self.host, self.branch = host, branch

    def forward(self, pixels: Float[Tensor, "b c height width"]) -> Float[Tensor, "b d h w"]:
        return self.host(pixels) + self.branch(pixels)


def with_details(network: nn.Module, place: str, *, hidden: int = 32) -> nn.Module:
    """Puts a Haar branch beside the patch embedding (a convolution) at `place`, such as "image_encoder.patches"."""
    host = network.get_submodule(place)
    if not isinstance(host, nn.Conv2d):
        raise BadInput(f"{place} is no convolution of patches, so no Haar branch can stand beside it")
    branch = HaarBranch(host.in_channels, int(host.stride[0]), host.out_channels, hidden)
    network.set_submodule(place, PatchesAndDetails(host, branch.to(host.weight.device)))
    return network


def beside_details(state: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """A network's tensors under the names that they have once a branch stands beside the patches at `place`."""
    host, branch = f"{place}.", f"{place}.branch."
    return {
        f"{place}.host.{name.removeprefix(host)}"
        if name.startswith(host) and not name.startswith(branch)
        else name: each
        for name, each in state.items()
    }
