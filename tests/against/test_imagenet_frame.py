"""Our frame is torchvision's resize, centre crop and normalise, to the last bit of a byte, at any size."""

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from hilum.parts.imagenet_frame import DEVIATION, MEAN, evaluated

SIZES = [(85, 110), (110, 85), (97, 97), (31, 200), (300, 301), (256, 256), (20, 23)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("side", "share"), [(64, 0.875), (48, 1.0), (37, 0.9)])
def test_evaluation_is_torchvisions(size, side, share):
    from torchvision import transforms

    picture = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    theirs = transforms.Compose(
        [
            transforms.Resize(int(side / share), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, DEVIATION),
        ]
    )(Pillow.fromarray(picture))
    torch.testing.assert_close(evaluated(np.moveaxis(picture, -1, 0), side, share=share)[0], theirs, atol=1e-6, rtol=0)
