"""The demo's pictures are found, its commands can be typed, and what it writes is read back before it is shown."""

import shlex
from dataclasses import replace

import numpy as np
import pytest

from hilum.app import demo, demo_cases, options, round_trip
from hilum.app.ask_options import AskOptions
from hilum.app.asked import understood
from hilum.app.command import spoken
from hilum.io.write import write
from hilum.values.errors import Failed
from hilum.values.image import from_array
from phantoms import ct_series


@pytest.mark.parametrize("case", demo_cases.CASES, ids=lambda case: case.mask)
def test_each_picture_lies_in_a_package_and_each_prompt_is_read(case):
    assert case.file() is not None
    words = shlex.split(demo.command(case))
    assert words[1:3] == ["ask", "scout"]
    asked = understood(AskOptions(words=[words[3]]), tuple(spoken(words[4:])))
    assert len(asked.prompts) == len(case.prompts)


def test_a_picture_whose_package_is_missing_is_left_out_with_a_sentence(tmp_path, capsys):
    lost = replace(demo_cases.CASES[0], package="nothing_like_this")
    assert lost.file() is None
    assert demo._shown(None, lost, tmp_path) is None
    assert "pip install 'hilum[demo]'" in capsys.readouterr().err


def test_the_demo_ends_with_a_sheet_and_a_command(threshold, monkeypatch, tmp_path, capsys):
    from PIL import Image as Pillow

    cases = tuple(case for case in demo_cases.CASES if case.mask in ("abdomen_mask.dcm", "cell_mask.png"))
    monkeypatch.setattr(demo, "CASES", cases)
    monkeypatch.setattr(demo, "SYSTEM", "threshold")
    demo.main(["--out", str(tmp_path / "demo")])
    told = capsys.readouterr().out
    assert told.count("read back the same") == 2
    assert "YOUR_FILE --box" in told
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == [
        "abdomen_mask.dcm",
        "abdomen_mask_preview.png",
        "cell_mask.png",
        "cell_mask_preview.png",
        "contact.png",
    ]
    with Pillow.open(tmp_path / "demo" / "contact.png") as sheet:
        assert sheet.width >= 640


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".nii.gz", "oblique"), (".nii.gz", "tilted"), (".dcm", "oblique"), (".dcm", "tilted")]
)
def test_a_volume_comes_back_from_each_format(tmp_path, suffix, kind):
    from capabilities.threshold import Threshold

    from hilum.io.read import read

    ct_series(tmp_path / "ct", kind)
    answer = Threshold.tiny().ask(read(tmp_path / "ct"), options.box("4,4,1:36,28,8"))
    path = write(answer, tmp_path / f"mask{suffix}")
    assert "in place to 0.001 mm" in round_trip.confirmed(answer, path)
    flipped = replace(answer, masks=np.ascontiguousarray(answer.masks[..., ::-1]))
    with pytest.raises(Failed, match="not what was written"):
        round_trip.confirmed(flipped, path)


def test_a_moved_mask_is_noticed(tmp_path):
    from capabilities.threshold import Threshold

    values = np.zeros((1, 6, 20, 20), np.float32)
    values[:, 2:4, 5:12, 5:12] = 1
    image = from_array(values, spacing=(1.0, 1.0, 2.0))
    answer = Threshold.tiny().ask(image, options.box("3,3,1:14,14,4"))
    path = write(answer, tmp_path / "mask.nii.gz")
    affine = image.affine.copy()
    affine[0, 3] += 0.01
    with pytest.raises(Failed, match=r"0\.01 mm apart"):
        round_trip.confirmed(replace(answer, image=replace(image, affine=affine)), path)
