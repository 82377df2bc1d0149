"""Our ResNet of any width is torchvision's where torchvision has one."""

import torch

from hilum.parts.resnet import ResNet, ResNetSizes


def test_the_same_names_and_maps_as_torchvisions_resnet_50():
    from torchvision.models import resnet50

    torch.manual_seed(0)
    theirs = resnet50(weights=None).eval()
    ours = ResNet(ResNetSizes(classes=1000)).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        maps = ours(pixels)
        torch.testing.assert_close(theirs.fc(maps.mean((2, 3))), theirs(pixels))
    assert maps.shape[1] == ResNetSizes().features


def test_other_widths():
    assert ResNet(ResNetSizes(layers=(1, 1, 1, 1), width=6))(torch.rand(2, 3, 64, 64)).shape == (2, 192, 2, 2)
