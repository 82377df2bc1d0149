"""`hilum bench probe`: vectors beside rivals on the same folds, by patient or by likeness."""

import json

import numpy as np
from PIL import Image as Pillow


def test_probe_measures_every_way_on_the_same_folds_and_by_group(hilum, shade, films, tmp_path):
    out = tmp_path / "out"
    words = ("bench", "probe", "shade", "--data", films, "--labels", "bright, dark", "-o", out, "--draws", 100)
    ended = hilum(*words, "--by", "view")
    assert ended.code == 0, ended.err
    text = (out / "table.md").read_text()
    assert text.strip() == ended.out.strip()
    for way in ("linear probe", "5 nearest neighbours", "HOG + ridge", "1-nearest 8 × 8 thumbnail"):
        assert f"| {way} |" in text
    assert "**linear probe, by view**" in text
    assert "24 groups by patient" in text
    assert "not from the encoder" in text
    assert "linear probe less HOG + ridge: AUROC +0." in text
    assert "| by | all together | AP | PA | mean of groups |" in text
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert len(records) == 48
    assert {each["class"] for each in records} == {"bright", "dark"}
    assert abs(sum(records[0]["linear probe"].values()) - 1) < 1e-4
    again = hilum(*words)
    assert again.code == 2
    assert "table.md exists" in again.err
    told = json.loads(hilum(*words, "--force", "--json").out)
    assert told["linear probe"]["all"]["choice"]["balanced accuracy"][0] > 0.7
    assert told["gains"]["HOG + ridge"]["balanced accuracy"][1] > 0
    assert told["HOG + ridge"]["all"]["choice"]["balanced accuracy"][0] < 0.65  # flat films have no gradients


def test_folders_named_after_classes_are_probed_too(hilum, shade, tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "classes"
    for place, name in enumerate(("dark", "bright")):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            light = rng.integers(20, 120, (8, 8)) + 100 * place
            Pillow.fromarray(light.astype(np.uint8)).save(folder / name / f"p{number // 2}__{number}.png")
    (folder / "dark" / "broken.png").write_bytes(b"nothing")
    ended = hilum("bench", "probe", "shade", "--data", folder, "-o", tmp_path / "out", "--draws", 100)
    assert ended.code == 1
    assert "broken.png" in ended.err
    assert "24 images of 6 patients" in ended.out
    assert "Classes: bright, dark; 5 folds, 6 groups by patient." in ended.out
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert {each["class"] for each in records if each["file"].startswith("dark")} == {"dark"}
    for words, sentence in (
        (("--labels", "dark"), "--labels is for a table"),
        (("--by", "view"), "--by is for a table"),
    ):
        refused = hilum("bench", "probe", "shade", "--data", folder, "-o", tmp_path / "none", *words)
        assert refused.code == 2
        assert sentence in refused.err


def test_what_is_wrong_is_a_sentence(hilum, shade, films, tmp_path):
    out = tmp_path / "out"
    for words, sentence in (
        (("scout", "--labels", "bright, dark"), "scout gives no vectors. Systems that embed: "),
        (("shade", "--labels", "bright, dark", "--groups", "hospital"), "choose patient or alike"),
        (("shade", "--labels", "bright"), "give at least two"),
        (("shade",), "of a table say which labels are the classes"),
    ):
        ended = hilum("bench", "probe", *words, "--data", films, "-o", out)
        assert ended.code == 2
        assert sentence in ended.err
        assert not out.exists()
