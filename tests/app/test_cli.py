"""The command line: words, prompts, files, exit codes, what goes to stdout and what to stderr."""

import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow

from hilum import registry
from hilum.app import ask as asking
from hilum.app import cost
from hilum.app.cli import main
from hilum.values.errors import Failed, TooLarge

RESEARCH = "Research use only, not a medical device."
BOX = ("--box", "8,6:32,30")


def pixels(path):
    with Pillow.open(path) as picture:
        return np.array(picture)


def test_a_box_gives_a_table_on_stdout_and_the_rest_on_stderr(hilum, threshold, disc):
    ended = hilum("ask", "threshold", disc, *BOX)
    assert ended.code == 0
    head, row = ended.out.splitlines()
    assert head.split() == ["object", "confidence", "pixels", "size", "box"]
    assert row.split() == ["object", "0.90", "249", "249", "pixels", "12,10:28,26"]
    assert RESEARCH in ended.err
    assert "note: thresholded at half of the window" in ended.err


def test_the_mask_is_written_and_told_in_one_line(hilum, threshold, disc, tmp_path):
    out = tmp_path / "mask.png"
    ended = hilum("ask", "threshold", disc, *BOX, "-o", out)
    assert ended.code == 0
    assert ended.out == f"{out}: object 249 pixels, confidence 0.90\n"
    assert (pixels(out) > 0).sum() == 249


def test_json_is_for_machines_and_alone_on_stdout(hilum, threshold, disc):
    ended = hilum("ask", "threshold", disc, *BOX, "--json")
    report = json.loads(ended.out)
    assert report["objects"][0]["voxels"] == 249
    assert report["provenance"]["system"] == "threshold"
    assert report["image"] == [str(disc)]


def test_a_preview_is_a_picture_beside_the_answer(hilum, threshold, disc, tmp_path):
    ended = hilum("ask", "threshold", disc, *BOX, "--preview", tmp_path / "seg.png")
    assert ended.code == 0
    assert pixels(tmp_path / "seg.png").shape[1] >= 640


def test_a_volume_in_millimetres_lands_on_the_volume(hilum, threshold, tmp_path):
    values = np.zeros((30, 24, 10), dtype=np.int16)
    values[10:20, 8:16, 3:7] = 100
    affine = np.diag([-2.0, 2.0, 3.0, 1.0]) + np.array([[0, 0, 0, 40.0], [0, 0, 0, -20], [0, 0, 0, 5], [0, 0, 0, 0]])
    nibabel.Nifti1Image(values, affine).to_filename(tmp_path / "scan.nii.gz")
    lps = np.diag([-1, -1, 1, 1]) @ affine @ np.array([[9, 7, 2, 1], [20, 16, 7, 1]]).T
    low, high = (",".join(f"{value:g}" for value in corner[:3]) for corner in lps.T)
    ended = hilum(
        "ask", "threshold", tmp_path / "scan.nii.gz", "--mm", "--box", f"{low}:{high}", "-o", tmp_path / "m.nii.gz"
    )
    assert ended.code == 0
    mask = nibabel.load(tmp_path / "m.nii.gz")
    assert np.array_equal(mask.affine, affine)
    assert np.array_equal(np.asarray(mask.dataobj) > 0, values > 0)
    assert "3.84 ml" in ended.out


def test_names_join_prompts_and_keep_objects_apart(hilum, threshold, disc):
    ended = hilum("ask", "threshold", disc, "--box", "a=8,6:32,30", "--point", "a=20,18", "--box", "b=40,0:50,10")
    assert [row.split()[0] for row in ended.out.splitlines()] == ["object", "a", "b"]
    assert "empty" in ended.out


@pytest.mark.parametrize(
    ("words", "empty"),
    [
        (("--box", "8,6:32,30", "--box", "8,6:32,30", "--point", "9,7"), [False, True]),
        (("--box", "8,6:32,30", "--point", "9,7", "--box", "8,6:32,30"), [True, False]),
    ],
)
def test_a_click_refines_the_box_that_was_said_before_it(hilum, threshold, disc, words, empty):
    objects = json.loads(hilum("ask", "threshold", disc, *words, "--json").out)["objects"]
    assert [each["box"] is None for each in objects] == empty


def test_a_mask_file_on_the_same_grid_is_a_prompt_and_on_another_is_refused(hilum, threshold, disc, tmp_path):
    drawn = np.zeros((40, 60), dtype=np.uint8)
    drawn[15:20, 15:20] = 255
    Pillow.fromarray(drawn).save(tmp_path / "guess.png")
    Pillow.fromarray(drawn[:-1]).save(tmp_path / "small.png")
    assert "249" in hilum("ask", "threshold", disc, "--mask", tmp_path / "guess.png").out
    ended = hilum("ask", "threshold", disc, "--mask", tmp_path / "small.png")
    assert ended.code == 2
    assert "60 × 39" in ended.err
    assert "60 × 40" in ended.err


def test_a_near_miss_of_a_file_or_a_system_is_offered(hilum, threshold, disc):
    assert "no such file" in (told := hilum("ask", disc.with_name("disk.pmg"), *BOX).err)
    assert "did you mean" in told
    assert "disc.png?" in told
    ended = hilum("ask", "thresold", disc, *BOX)
    assert ended.code == 2
    assert "no such file: thresold (did you mean threshold?)" in ended.err


def test_a_path_with_a_dot_is_never_a_system(hilum, threshold, disc, monkeypatch):
    monkeypatch.chdir(disc.parent)
    disc.rename(disc.with_name("threshold"))
    assert hilum("ask", "./threshold", *BOX, "--json").code in (0, 1, 2)
    assert "no such file" not in hilum("ask", "./threshold", *BOX).err
    assert hilum("ask", "threshold", *BOX).err.startswith("hilum ask wants an image")


def test_a_last_word_with_a_space_is_a_question(hilum, threshold, disc):
    ended = hilum("ask", "threshold", disc, "is there an effusion?")
    assert ended.code == 2
    assert ended.err.startswith("threshold takes points, box, mask, got Question.")
    assert hilum("ask", "threshold", disc, "-q", "why?").err.startswith("threshold takes")


def test_a_prompt_torn_apart_by_a_space_is_recognised(hilum, threshold, disc):
    ended = hilum("ask", "threshold", disc, "--box", "8,6:32,", "30")
    assert ended.code == 2
    assert "without spaces" in ended.err


def test_an_unsupported_prompt_names_who_takes_it(hilum, threshold, disc):
    ended = hilum("ask", "medsam", disc, "--point", "3,4")
    assert ended.code == 2
    assert ended.err.startswith("medsam takes box, got Points. Systems that take points: ")
    assert "threshold" in ended.err


def test_without_a_system_the_best_that_is_here_is_taken_and_said(hilum, threshold, disc, monkeypatch):
    entries, broken = registry._found()
    monkeypatch.setattr(registry, "_found", lambda: ({"threshold": entries["threshold"]}, broken))
    ended = hilum("ask", disc, *BOX)
    assert ended.code == 0
    assert "threshold answers: it takes box, and its weights (none) are in the package." in ended.err


def test_where_nobody_can_answer_the_command_that_helps_is_said(hilum, disc, monkeypatch):
    entries, broken = registry._found()
    monkeypatch.setattr(registry, "_found", lambda: ({"sam_u": entries["sam_u"]}, broken))
    ended = hilum("ask", disc, *BOX)
    assert ended.code == 1
    assert "hilum weights pull sam_u.vit_b" in ended.err
    ended = hilum("ask", disc, "--point", "1,2")
    assert ended.code == 2
    assert "no system here takes points" in ended.err


def test_a_seg_of_what_is_no_dicom_is_refused_before_the_look(hilum, threshold, disc, tmp_path):
    from capabilities.threshold import Threshold

    before = Threshold.looks
    ended = hilum("ask", "threshold", disc, *BOX, "-o", tmp_path / "mask.seg.dcm")
    assert ended.code == 2
    assert "a DICOM SEG refers to DICOM images" in ended.err
    assert Threshold.looks == before


def test_what_exists_is_refused_before_the_look_and_replaced_by_force(hilum, threshold, disc, tmp_path):
    from capabilities.threshold import Threshold

    out = tmp_path / "mask.png"
    out.write_bytes(b"precious")
    before = Threshold.looks
    ended = hilum("ask", "threshold", disc, *BOX, "-o", out)
    assert ended.code == 2
    assert "--force" in ended.err
    assert Threshold.looks == before
    assert out.read_bytes() == b"precious"
    assert hilum("ask", "threshold", disc, *BOX, "-o", out, "--force").code == 0
    assert out.read_bytes() != b"precious"


@pytest.mark.parametrize("name", ["mask.docx", "mask", "none/mask.png", "."])
def test_a_place_that_cannot_be_written_is_refused_before_the_look(hilum, threshold, disc, tmp_path, name):
    from capabilities.threshold import Threshold

    before = Threshold.looks
    ended = hilum("ask", "threshold", disc, *BOX, "-o", tmp_path / name)
    assert ended.code == 2
    assert Threshold.looks == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disc.png"]


def test_several_images_are_done_one_by_one_and_failures_are_listed(hilum, threshold, disc, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    (tmp_path / "out").mkdir()
    ended = hilum("ask", "threshold", disc, tmp_path / "broken.png", *BOX, "-o", tmp_path / "out")
    assert ended.code == 1
    assert "1 of 2 images failed" in ended.err
    assert "broken.png" in ended.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["disc_mask.png"]


def test_an_empty_answer_is_an_answer(hilum, threshold, disc):
    ended = hilum("ask", "threshold", disc, "--box", "40,0:50,10")
    assert ended.code == 0
    assert "empty" in ended.out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["list", "--accepts", "box"], 0),
        (["list", "--accepts", "boxes"], 2),
        (["list", "--json"], 0),
        (["card", "medsam"], 0),
        (["card", "medsan"], 2),
        (["inspect", "nothing.here"], 2),
        (["ask"], 2),
        (["ask", "--nonsense"], 2),
        (["nonsense"], 2),
        ([], 2),
    ],
)
def test_exit_codes_say_whose_turn_it_is(hilum, words, code):
    assert hilum(*words).code == code


def test_the_version_says_what_it_is_not(hilum):
    assert RESEARCH in hilum("--version").out


def test_a_card_shows_the_paper_the_prompts_and_the_weights(hilum):
    out = hilum("card", "medsam").out
    assert "Nature Communications" in " ".join(out.split())
    assert "medsam_vit_b.pth" in out
    assert json.loads(hilum("card", "medsam", "--json").out)["row"] == 24


def test_a_card_weighs_a_look_on_this_machine_before_any_weights_are_here(hilum):
    here = json.loads(hilum("card", "sam_u", "--here", "--json").out)["here"]
    assert 90e6 < here["parameters"] < 95e6
    assert 9e11 < here["look"]["flops"] < 11e11
    assert {"f32", "bf16", "int8"} <= set(here["look"]["peak_bytes"])
    assert all(seconds > 0 for seconds in here["look"]["seconds"].values())
    own = hilum("card", "scout", "--here").out
    assert "a look costs nothing" in own
    assert "a prompt " in own


def test_a_look_that_needs_more_memory_than_allowed_is_refused_with_both_numbers():
    with pytest.raises(TooLarge, match=r"needs about .* GB .* 0\.0 GB were allowed.*--max-memory"):
        cost.refuse("medsam", "torch", 1024)


def test_a_failure_that_nobody_foresaw_is_a_sentence_without_its_text(hilum, threshold, disc, monkeypatch):
    def breaks(*given):
        raise KeyError("Canary^Yellow")

    monkeypatch.setattr(asking, "read_image", breaks)
    ended = hilum("ask", "threshold", disc, *BOX)
    assert ended.code == 1
    assert "KeyError" in ended.err
    assert "--debug" in ended.err
    assert "Canary" not in ended.err + ended.out
    with pytest.raises(KeyError):
        main(["ask", "threshold", str(disc), *BOX, "--debug"])


def test_debug_shows_where_a_sentence_arose(hilum, threshold, disc, monkeypatch):
    def breaks(*given):
        raise Failed("the disc is bent")

    monkeypatch.setattr(asking, "read_image", breaks)
    assert hilum("ask", "threshold", disc, *BOX).err.endswith("the disc is bent\n")
    with pytest.raises(Failed):
        main(["ask", "--debug", "threshold", str(disc), *BOX])


def test_ctrl_c_is_clean(hilum, threshold, disc, monkeypatch):
    def stopped(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(asking, "read_image", stopped)
    ended = hilum("ask", "threshold", disc, *BOX)
    assert ended.code == 130
    assert "Traceback" not in ended.err


def test_inspect_says_size_spacing_and_sides(hilum, tmp_path):
    from phantoms import ct_series

    ct_series(tmp_path / "ct", "tilted")
    ended = hilum("inspect", tmp_path / "ct", "--sheet", tmp_path / "sheet.png")
    assert ended.code == 0
    for words in ("40 × 32 × 10 voxels", "0.9 × 0.7 × 2.5 mm", "20.0° from square", "modality     CT", "10 files"):
        assert words in ended.out
    assert (tmp_path / "sheet.png").is_file()
    facts = json.loads(hilum("inspect", tmp_path / "ct", "--json").out)
    assert facts["orientation"] == "LPS"
    assert facts["shear_degrees"] == pytest.approx(20.0, abs=1e-3)


def test_nothing_is_coloured_when_piped(threshold, disc):
    ran = subprocess.run([sys.executable, "-m", "hilum.app.cli", "list"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert "\x1b" not in ran.stdout + ran.stderr


def test_help_and_list_import_nothing_heavy():
    heavy = {"torch", "numpy", "nibabel", "pydicom", "rich", "jaxtyping", "openvino", "PIL"}
    code = (
        "import sys; from hilum.app.cli import app\n"
        "for words in (['--help'], ['list']):\n"
        "    app(words, standalone_mode=False)\n"
        f"loaded = sorted({heavy!r} & set(sys.modules)); print('heavy:', loaded)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.endswith("heavy: []\n")
