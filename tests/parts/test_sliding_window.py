"""Sliding windows give MONAI's numbers, and hand out each slab as soon as it is done."""

import pytest
import torch

from hilum.parts.sliding_window import gaussian, slabs

SIDES = (16, 16, 16)


def network(windows: torch.Tensor) -> torch.Tensor:
    """Two channels that depend on the place within the window, so that a wrong place or weight shows."""
    ramp = torch.linspace(-1, 1, windows.shape[-1])
    return torch.cat([windows * ramp, windows.cumsum(2) + windows.cumsum(3)], dim=1)


def whole(volume: torch.Tensor, sides=SIDES) -> torch.Tensor:
    found = torch.full((2, *volume.shape), torch.nan)
    for slab in slabs(volume, sides, network):
        assert found[(slice(None), *slab.place)].isnan().all(), "a voxel was answered twice"
        found[(slice(None), *slab.place)] = slab.values
    assert not found.isnan().any()
    return found


@pytest.mark.parametrize("shape", [(16, 16, 16), (40, 21, 16), (17, 24, 45), (30, 47, 20), (5, 9, 40), (7, 11, 3)])
def test_numbers_are_monais(shape):
    from monai.inferers import sliding_window_inference

    volume = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    theirs = sliding_window_inference(volume[None, None], SIDES, 1, network, overlap=0.5, mode="gaussian")[0]
    torch.testing.assert_close(whole(volume), theirs, atol=1e-5, rtol=1e-5)


def test_windows_need_not_be_cubes():
    from monai.inferers import sliding_window_inference

    volume = torch.rand((20, 30, 25), generator=torch.Generator().manual_seed(0))
    sides = (8, 12, 10)
    theirs = sliding_window_inference(volume[None, None], sides, 1, network, overlap=0.5, mode="gaussian")[0]
    torch.testing.assert_close(whole(volume, sides), theirs, atol=1e-5, rtol=1e-5)


def test_weights_are_monais():
    from monai.data.utils import compute_importance_map

    torch.testing.assert_close(gaussian((96, 32, 7)), compute_importance_map((96, 32, 7), mode="gaussian"))


def test_no_slab_is_deeper_than_a_window():
    """What bounds the memory: of a long volume only one window's depth is summed up at a time."""
    depths = [slab.values.shape[3] for slab in slabs(torch.rand(16, 20, 200), SIDES, network)]
    assert sum(depths) == 200
    assert max(depths) <= 16
    assert depths[:-1] == [8] * (len(depths) - 2) + [depths[-2]]
