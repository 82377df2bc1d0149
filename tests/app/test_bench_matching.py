"""`hilum bench zeroshot` and `retrieval`: a table in, measures out; stopped work goes on."""

import json

import pytest
from capabilities.shade import Shade


def test_zeroshot_measures_all_and_groups_and_goes_on(hilum, shade, films, tmp_path):
    out = tmp_path / "out"
    words = ("bench", "zeroshot", "shade", "--data", films, "--labels", "bright, dark", "-o", out, "--draws", 100)
    ended = hilum(*words, "--by", "view,age")
    assert ended.code == 0, ended.err
    text = (out / "table.md").read_text()
    assert text.strip() == ended.out.strip()
    assert "shade.none, weights sha256 abab" in text
    assert "48 images of 24 patients" in text
    assert "| AP | bright | 24 |" in text
    assert "Largest gap by view: AUROC of " in text
    assert "| 20-39 | bright |" in text
    assert "By age no two groups have 10" in text or "Largest gap by age" in text
    assert "--score similarity ranks by each label alone" in text
    assert len((out / "records.jsonl").read_text().split()) > 48
    looks = Shade.looks
    again = hilum(*words, "--exclusive", "--json")
    assert again.code == 0, again.err
    assert Shade.looks == looks
    told = json.loads(again.out)["all"]
    assert told["choice"]["balanced accuracy"][0] > 0.7
    assert told["lines"][0]["numbers"]["AUROC"][0] > 0.8


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("scout", "--labels", "bright"), "got Labels. Systems that take labels: "),
        (("shade", "--labels", "bright", "--by", "hospital"), "--by hospital: choose view, sex, age, source"),
        (("shade", "--labels", "bright", "--by", "source"), "line 1: wanted a column source"),
        (("shade", "--labels", "bright", "--exclusive"), "give at least two"),
        (("shade", "--labels", "bright", "--score", "cosine"), "choose softmax or similarity"),
    ],
)
def test_what_is_wrong_is_a_sentence(hilum, shade, films, tmp_path, words, sentence):
    ended = hilum("bench", "zeroshot", *words, "--data", films, "-o", tmp_path / "out")
    assert ended.code == 2
    assert sentence in ended.err
    assert not (tmp_path / "out").exists()


def test_zeroshot_stands_beside_rivals_fitted_on_other_images(hilum, shade, films, tmp_path):
    lines = films.read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join(lines[:29]) + "\n")
    (tmp_path / "test.csv").write_text("\n".join([lines[0], *lines[28:]]) + "\n")
    words = ("bench", "zeroshot", "shade", "--labels", "bright, dark", "--draws", 100, "-o", tmp_path / "out")
    rivals = ("--rivals", tmp_path / "train.csv", "--by", "view")
    ended = hilum(*words, "--data", tmp_path / "test.csv", *rivals)
    assert ended.code == 2
    assert "share 1 images (p13__27.png): rivals train on others" in ended.err
    (tmp_path / "test.csv").write_text("\n".join([lines[0], *lines[30:]]) + "\n")
    ended = hilum(*words, "--data", tmp_path / "test.csv", *rivals)
    assert ended.code == 0, ended.err
    for way in ("shade.none", "HOG + ridge", "1-nearest 8 × 8 thumbnail"):
        assert f"| {way} |" in ended.out
    assert "shade.none less HOG + ridge: AUROC +0." in ended.out
    assert "AUROC within each view by itself:" in ended.out
    assert "| by | all together | AP | PA | mean of groups |" in ended.out
    assert "The rivals were fitted on 28 images of train.csv, of other patients" in ended.out
    records = [json.loads(line) for line in (tmp_path / "out" / "rivals.jsonl").read_text().splitlines()]
    assert len(records) == 19
    assert set(records[0]["HOG + ridge"]) == {"bright", "dark"}
    again = hilum(*words, "--data", tmp_path / "test.csv", *rivals, "--exclusive", "--json")
    told = json.loads(again.out)
    assert told["gains"]["HOG + ridge"]["balanced accuracy"][0] > 0
    assert told["rivals"]["1-nearest 8 × 8 thumbnail"]["all"]["lines"][0]["numbers"]["AUROC"][0] > 0.5


def test_a_table_that_is_not_ours_is_left_as_it_is(hilum, shade, films, tmp_path):
    (tmp_path / "table.md").write_text("mine")
    ended = hilum("bench", "zeroshot", "shade", "--data", films, "--labels", "bright", "-o", tmp_path)
    assert ended.code == 2
    assert "table.md exists and is left as it is" in ended.err


def test_retrieval_finds_texts_and_images_beside_chance(hilum, shade, films, tmp_path):
    out = tmp_path / "out"
    words = ("bench", "retrieval", "shade", "--data", films, "--draws", 100)
    ended = hilum(*words, "-o", out)
    assert ended.code == 0, ended.err
    assert ended.out.count("| chance |") == 2
    assert (out / "table.md").read_text().strip() == ended.out.strip()
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert len(records) == 48
    assert records[0]["nearest"][0] == records[0]["text"]
    assert records[0]["text_rank"] == records[0]["image_rank"] == 1
    told = json.loads(hilum(*words, "--json").out)["all"]
    assert [way["name"] for way in told] == ["image to text", "text to image"]
    assert all(way["numbers"]["recall@1"][0] > 0.9 for way in told)
    again = hilum(*words, "-o", out)
    assert again.code == 2
    assert "table.md exists" in again.err


def test_retrieval_by_group_names_the_largest_gap(hilum, shade, films):
    words = ("bench", "retrieval", "shade", "--data", films, "--draws", 100, "--by", "view,age")
    ended = hilum(*words)
    assert ended.code == 0, ended.err
    assert "| AP | 24 | image to text |" in ended.out
    assert "Largest gap by view: recall@" in ended.out
    told = json.loads(hilum(*words, "--json").out)["by"]["view"]
    assert told["largest_gap"]["among"] == 6
    assert sum(both[0]["images"] for both in told["groups"].values()) == 48


def test_retrieval_wants_vectors_of_both_and_texts(hilum, shade, films):
    ended = hilum("bench", "retrieval", "retfound", "--data", films)
    assert ended.code == 2
    assert "retfound has no vectors of pictures beside vectors of texts" in ended.err
    films.write_text(films.read_text().replace(",text", ",words"))
    ended = hilum("bench", "retrieval", "shade", "--data", films)
    assert ended.code == 2
    assert "line 1: wanted a column text" in ended.err
