"""Bands, spectra and the Haar transform, held against what is known of them."""

import numpy as np
import pytest
import torch

from hilum.parts.frequency import HaarBranch, haar, radial_spectrum, unhaar, with_details, without_band
from hilum.parts.sam import TINY, sam
from hilum.values.errors import BadInput


def wave(frequency: float, side: int = 64) -> np.ndarray:
    return np.cos(2 * np.pi * frequency * np.arange(side))[None].repeat(side, 0)


@pytest.mark.parametrize("frequency", [0.0625, 0.125, 0.25, 0.375])
def test_a_wave_lies_at_its_frequency(frequency):
    middles, share = radial_spectrum(wave(frequency), bins=32)
    assert abs(middles[share.argmax()] - frequency) <= 0.5 / 32
    assert share.sum() == pytest.approx(1.0, abs=1e-6)


def test_a_band_is_taken_away_and_the_rest_stays():
    both = 3.0 + wave(0.0625) + wave(0.3125)
    kept = without_band(both, 0.2, 0.6)
    inner = slice(None), slice(12, -12)  # where the mirrored wave has its kink, nothing can be told apart
    np.testing.assert_allclose(kept[inner], (3.0 + wave(0.0625))[inner], atol=0.05)
    np.testing.assert_allclose(without_band(both, 0.03, 0.1)[inner], (3.0 + wave(0.3125))[inner], atol=0.1)
    np.testing.assert_allclose(without_band(both, 0.55, 0.9), both, atol=0.05)
    assert without_band(both.astype(np.float32)[None], 0.2, 0.6).dtype == np.float32


def test_what_is_taken_away_in_parts_is_taken_away_as_a_whole():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(40, 52))
    gone = sum(plane - without_band(plane, low, low + 0.1) for low in (0.1, 0.2, 0.3))
    np.testing.assert_allclose(gone, plane - without_band(plane, 0.1, 0.4), atol=1e-9)


def test_haar_is_orthonormal_and_undone_exactly():
    x = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    smooth, details = haar(x)
    assert (smooth**2).sum() + (details**2).sum() == pytest.approx(float((x**2).sum()))
    torch.testing.assert_close(unhaar(smooth, details), x)
    flat_smooth, flat = haar(torch.ones(1, 1, 4, 4))
    assert not flat.any()
    assert (flat_smooth == 2).all()


def test_details_of_a_patch_are_all_that_its_mean_leaves_out():
    branch = HaarBranch(1, 8, 5)
    x = torch.randn(1, 1, 16, 16)
    details = branch.details(x)
    assert details.shape == (1, 63, 2, 2)
    patch = x[0, 0, :8, 8:]
    energy = float(((patch - patch.mean()) ** 2).sum())
    assert float((details[0, :, 0, 1] ** 2).sum()) == pytest.approx(energy, rel=1e-5)


def test_a_fresh_branch_changes_nothing_and_learns():
    torch.manual_seed(0)
    network = sam(TINY).eval()
    x = torch.randn(1, 3, TINY.image_size, TINY.image_size)
    with torch.no_grad():
        before = network.image_encoder(x)
        with_details(network, "image_encoder.patches", hidden=4)
        assert torch.equal(network.image_encoder(x), before)
    network.image_encoder(x).square().sum().backward()
    assert network.image_encoder.patches.branch.widen.weight.grad.abs().max() > 0


def test_what_has_no_patches_is_refused():
    with pytest.raises(BadInput, match="power of two, got 14"):
        HaarBranch(3, 14, 8)
    with pytest.raises(BadInput, match="no convolution of patches"):
        with_details(sam(TINY), "image_encoder.neck")
