"""A table of images with labels: what it may say, and the sentence for each thing that it may not."""

import numpy as np
import pytest

from hilum.train import labelled
from hilum.values.errors import BadInput


@pytest.fixture
def table(tmp_path):
    """Writes a table beside files a.png, p1__b.png, c.png."""
    (tmp_path / "films").mkdir()
    for name in ("a.png", "p1__b.png", "c.png"):
        (tmp_path / "films" / name).touch()

    def written(*lines: str, encoding: str = "utf-8"):
        path = tmp_path / "table.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return path

    return written


def test_a_column_for_each_label(table):
    path = table("file,Pneumonia,oedema", "films/a.png,1,0.0", "films/p1__b.png,,1.0", "", "films/c.png,0,")
    found = labelled.read(path, ("pneumonia", "oedema"))
    assert [image.truth for image in found.images] == [(True, False), (None, True), (False, None)]
    assert [image.patient for image in found.images] == ["films/a.png", "p1", "films/c.png"]
    assert [image.line for image in found.images] == [2, 3, 5]
    assert found.images[0].file.is_file()
    assert len(found.sha256) == 64
    np.testing.assert_array_equal(labelled.truths(found.images), [[1, 0], [np.nan, 1], [0, np.nan]])
    assert labelled.patients(found.images).tolist() == ["films/a.png", "p1", "films/c.png"]


def test_membership_in_a_column_of_labels_and_a_column_of_its_own_counts_first(table):
    path = table("file,labels,oedema", "films/a.png,Pneumonia | oedema,0", "films/c.png,,1")
    found = labelled.read(path, ("pneumonia", "oedema"))
    assert [image.truth for image in found.images] == [(True, False), (False, True)]


def test_groups_patients_and_texts(table):
    path = table(
        "file,labels,patient,view,age,text",
        'films/a.png,x,7,PA,045Y,"a film, upright"',
        "films/c.png,,7,,19.9,another",
        "films/p1__b.png,,,AP,,third",
    )
    found = labelled.read(path, ("x",), by=("view", "age"), text=True)
    assert [dict(image.groups) for image in found.images] == [
        {"view": "PA", "age": "40-59"},
        {"view": "not said", "age": "0-19"},
        {"view": "AP", "age": "not said"},
    ]
    assert [image.patient for image in found.images] == ["7", "7", "p1"]
    assert found.images[0].text == "a film, upright"


def test_a_group_is_more_than_a_patient(table):
    path = table("file,x,patient,group", "films/a.png,1,7,siblings", "films/c.png,0,8,siblings", "films/p1__b.png,1,9,")
    assert [image.patient for image in labelled.read(path, ("x",)).images] == ["siblings", "siblings", "9"]


def test_tables_of_spreadsheets_are_read(table):
    path = table("file;x", "films/a.png;1", encoding="utf-8-sig")
    assert labelled.read(path, ("x",)).images[0].truth == (True,)


@pytest.mark.parametrize(
    ("lines", "asked", "sentence"),
    [
        (("name,x", "a,1"), {}, r"table.csv, line 1: wanted a column file .* its columns are name, x"),
        (("file,x,X", "films/a.png,1,1"), {}, "line 1: the column x is there twice"),
        (("file,x",), {}, "line 2: wanted a line for each image"),
        (("file,x", "films/a.png,1", "films/b.png,1"), {}, "line 3: no such file: films/b.png"),
        (("file,x", "films/a.png,yes"), {}, "line 2: x is 'yes'; wanted 1, 0, or nothing"),
        (("file,x", "films/a.png,-1"), {}, "line 2: x is '-1'"),
        (("file,x", "films/a.png,1,2"), {}, "line 2: 3 cells; wanted 2"),
        (("file,xx", "films/a.png,1"), {}, r"line 1: wanted a column x \(did you mean xx\?\), or a column labels"),
        (("file,labels", "films/a.png,xx"), {}, r"no image has the label x \(did you mean xx\?\)"),
        (("file,x", "films/a.png,1", "films/../films/a.png,1"), {}, "line 3: .* is on line 2 already"),
        (("file,x", "x" * 5000 + ",1"), {}, "line 2: no such file: xxx"),
        (("file,x", "films/a.png,1"), {"by": ("view",)}, "line 1: wanted a column view; its columns are file, x"),
        (("file,x,age", "films/a.png,1,old"), {"by": ("age",)}, "line 2: age is 'old'; wanted years"),
        (("file,x,text", "films/a.png,1,"), {"text": True}, "line 2: the column text is empty"),
        (("file,x", 'films/a.png,"1'), {}, "line 2: .*wanted CSV"),
    ],
)
def test_each_mistake_is_a_sentence_with_its_line(table, lines, asked, sentence):
    with pytest.raises(BadInput, match=sentence):
        labelled.read(table(*lines), ("x",), **asked)


def test_what_is_no_table_is_a_sentence(table, tmp_path):
    with pytest.raises(BadInput, match=r"no such table: .*nowhere\.csv"):
        labelled.read(tmp_path / "nowhere.csv")
    with pytest.raises(BadInput, match="is not UTF-8"):
        labelled.read(table("file,é", "films/a.png,1", encoding="latin-1"))
