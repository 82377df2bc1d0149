"""Random views of pictures of tissue, which has no up and no down, as torchvision draws them."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow

GREY = [127, 127, 127]  # what is seen beside a turned picture
DEGREES, SHIFT, SCALE, SHEAR = 10.0, 0.1, (0.8, 1.2), 15.0  # the published ranges of PLIP's training
DISTORTION = 0.3  # share of half a side by which a corner moves inward (ibid.)


def warped(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Turned, moved, scaled and sheared along x, on grey; nearest pixels."""
    from torchvision.transforms.functional import affine

    angle, scale, shear = rng.uniform(-DEGREES, DEGREES), rng.uniform(*SCALE), rng.uniform(-SHEAR, SHEAR)
    shift = [round(rng.uniform(-SHIFT, SHIFT) * length) for length in picture.size]
    return affine(picture, angle, shift, scale, [shear, 0.0], fill=GREY)


def tilted(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Half of the time seen from aside: each corner moved inward, black beside it."""
    from torchvision.transforms.functional import perspective

    if rng.random() >= 0.5:
        return picture
    right, bottom = picture.size[0] - 1, picture.size[1] - 1
    corners = [[0, 0], [right, 0], [right, bottom], [0, bottom]]
    most = [int(DISTORTION * (length // 2)) for length in picture.size]
    moves = rng.integers(0, most, size=(4, 2), endpoint=True)
    ends = [[abs(x - int(dx)), abs(y - int(dy))] for (x, y), (dx, dy) in zip(corners, moves, strict=True)]
    return perspective(picture, corners, ends)


def jittered(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Brightness, colours and hue changed in random order, as CITE's training does: at most a fifth of the colours
    is left."""
    from torchvision.transforms.functional import adjust_brightness, adjust_hue, adjust_saturation

    changes = [(adjust_brightness, (0.8, 1.2)), (adjust_saturation, (0.0, 0.2)), (adjust_hue, (-0.1, 0.1))]
    for number in rng.permutation(len(changes)):
        change, between = changes[number]
        picture = change(picture, rng.uniform(*between))
    return picture


def turned(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Mirrored along each axis half of the time, then turned by a random number of right angles."""
    for mirror in (Pillow.Transpose.FLIP_LEFT_RIGHT, Pillow.Transpose.FLIP_TOP_BOTTOM):
        if rng.random() < 0.5:
            picture = picture.transpose(mirror)
    return picture.rotate(90 * int(rng.integers(4)), expand=True)
