"""The table of a run: what its lines mean is what `hilum ask` would be told; what is wrong is told before anything."""

import numpy as np
import pytest
from PIL import Image as Pillow

from hilum.app.run import columns
from hilum.app.run.item import parsed
from hilum.app.run.table import items
from hilum.values.errors import BadInput

BOX = '"8,6:32,30"'


@pytest.fixture
def told(tmp_path, disc, threshold):
    """Writes the table beside the picture of a disc; its path."""

    def write(*lines: str):
        (tmp_path / "jobs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path / "jobs.csv"

    return write


def test_every_option_of_ask_is_a_column_but_those_that_mean_nothing_line_by_line():
    known = columns.options()
    assert {"box", "point-out", "keep-looks", "template", "over", "output", "explain", "max-memory"} <= set(known)
    assert not {"words", "json", "force", "push"} & set(known)
    assert (known["box"], known["mm"], known["frame"]) == (list, bool, str)


def test_a_line_is_the_command_line_that_says_the_same(told):
    [item] = items(
        told("image,system,point,point_out,box,frame,mm", f'disc.png,threshold,"a=1,2 | 3,4","a=5,6",{BOX},0,no'), {}
    )
    given, said = parsed(item.words)
    assert said == (
        ("--point", "a=1,2"),
        ("--point", "3,4"),
        ("--point-out", "a=5,6"),
        ("--box", "8,6:32,30"),
    ), "prompts are said in the order of the columns"
    assert (given.frame, given.mm, given.words[0]) == (0, False, "threshold")
    assert item.images == ("disc.png",)
    assert item.asked().kinds == ("points", "box")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_cells_are_parted_as_the_head_shows(told, mark):
    [item] = items(told(f"image{mark}system{mark}box", f'disc.png{mark}threshold{mark}"8,6:32,30"'), {})
    assert item.asked().kinds == ("box",)


def test_paths_are_from_the_folder_of_the_table(told, tmp_path, monkeypatch):
    drawn = np.zeros((40, 60), dtype=np.uint8)
    drawn[15:20, 15:20] = 255
    Pillow.fromarray(drawn).save(tmp_path / "guess.png")
    jobs = told("image,system,mask", "disc.png,threshold,guess.png | lung=guess.png")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    [item] = items(jobs, {})
    assert [(prompt.path, prompt.name) for prompt in item.asked().prompts] == [
        (tmp_path / "guess.png", None),
        (tmp_path / "guess.png", "lung"),
    ]


def test_what_stands_for_all_lines_gives_way_to_a_lines_own(told):
    jobs = told("image,system,box", f"disc.png,,{BOX}", f"disc.png,scout,{BOX}")
    first, second = items(jobs, {"system": "threshold", "backend": "torch"})
    assert (first.asked().words.system, second.asked().words.system) == ("threshold", "scout")
    assert second.asked().options.backend == "torch"


def test_files_without_names_are_called_after_their_images_and_never_twice_the_same(told):
    lines = [f"disc.png,threshold,{BOX},", f"disc.png,threshold,{BOX},", f"disc.png,threshold,{BOX},sub/own.nii.gz"]
    found = items(told("image,system,box,output", *lines), {})
    assert [item.output for item in found] == ["disc_mask.png", "disc-2_mask.png", "sub/own.nii.gz"]
    assert [item.report for item in found] == ["reports/disc.json", "reports/disc-2.json", "reports/sub/own.json"]


def test_a_columns_of_ones_own_and_empty_lines_are_left_alone(told):
    found = items(told("image,#patient,system,box", f"disc.png,17,threshold,{BOX}", ",,,"), {})
    assert len(found) == 1


def test_the_key_changes_with_whatever_the_answer_depends_on(told, disc):
    def key(line: str, head: str = "image,system,box,output") -> str:
        return items(told(head, line), {})[0].key

    first = key(f"disc.png,threshold,{BOX},a.png")
    assert first == key(f"disc.png,threshold,{BOX},a.png")
    assert first == key(f"a.png,disc.png,{BOX},threshold", "output,image,box,system")
    assert first != key('disc.png,threshold,"8,6:32,31",a.png')
    assert first != key(f"disc.png,threshold,{BOX},b.png")
    with Pillow.open(disc) as picture:
        turned = picture.rotate(180)
    turned.save(disc)
    assert first != key(f"disc.png,threshold,{BOX},a.png")


GOOD = {"image": "disc.png", "system": "threshold", "box": "8,6:32,30"}
BAD = {  # what is wrong -> cells, the sentence
    "no file": ({"image": "disk.png"}, "no such file: disk.png (did you mean disc.png?)"),
    "no image": ({"image": ""}, "wanted an image, and the cell is empty."),
    "no system": ({"system": "thresold"}, "no system is called thresold (did you mean threshold?); `hilum list`"),
    "no tag": ({"system": "threshold.big"}, "there are no weights called threshold.big: hilum card threshold"),
    "no prompt": ({"box": ""}, "threshold wants a prompt: points, box, mask."),
    "no box": ({"box": "1,2"}, "--box 1,2: a box is two corners with one colon between them"),
    "swapped": ({"box": "9,9:1,1"}, "its corners are swapped along x and y; write the lower one first"),
    "not taken": ({"scribble": "disc.png"}, "threshold takes points, box, mask, got Scribble. Systems that take scrib"),
    "a word": ({"frame": "first"}, "Invalid value for '--frame': "),
    "yes or no": ({"mm": "perhaps"}, "mm is 'perhaps'; wanted yes or no, or nothing."),
    "outside": ({"output": "../a.png"}, "output is ../a.png; wanted the name of a file in the run's folder."),
    "absolute": ({"output": "/a.png"}, "output is /a.png; wanted the name of a file in the run's folder."),
    "hidden": ({"output": "a/.b.png"}, "output is a/.b.png; wanted the name of a file in the run's folder."),
    "ours": ({"output": "Summary.csv"}, "output is Summary.csv, which is a name of the run's own; give another."),
    "reports": ({"output": "reports/a.png"}, "which is a name of the run's own; give another."),
    "suffix": ({"output": "a.docx"}, "a segmentation is written as .nii, "),
    "a SEG": ({"output": "a.dcm"}, "a DICOM SEG refers to DICOM images, and this image is none; give another output"),
    "a picture": ({"preview": "a.jpg"}, "preview is a.jpg; wanted a name that ends with .png."),
    "twice": ({"output": "a.png", "preview": "A.png"}, "a.png is named twice in this line."),
    "one by one": ({"image": "disc.png | disc.png"}, "these images are asked about one by one: wanted a line for"),
    "a template": ({"template": "a {}"}, "--template says how labels are said: give --labels with it."),
}


@pytest.mark.parametrize("what", BAD)
def test_a_line_that_cannot_be_is_a_sentence_and_nothing_is_begun(hilum, told, tmp_path, what):
    changes, sentence = BAD[what]
    cells = {**GOOD, **changes}
    jobs = told(",".join(cells), ",".join(f'"{cell}"' for cell in cells.values()))
    ended = hilum("run", jobs, "-o", tmp_path / "out")
    assert ended.code == 2, ended.err
    assert "jobs.csv, line 2: " in ended.err
    assert sentence in ended.err
    assert "Nothing was begun." in ended.err
    assert not (tmp_path / "out").exists()


def test_all_bad_lines_are_told_at_once(hilum, told, tmp_path):
    lines = [f"disc.png,threshold,{BOX}", f"a.png,threshold,{BOX}", 'disc.png,threshold,"1"']
    ended = hilum("run", told("image,system,box", *lines), "-o", tmp_path / "out")
    assert ended.code == 2
    assert "line 3: no such file: a.png" in ended.err
    assert "line 4: --box 1: a box is two corners" in ended.err
    assert ended.err.splitlines()[-1].startswith("2 of 3 lines of ")
    assert not (tmp_path / "out").exists()


def test_two_lines_that_write_one_file_are_refused(told):
    lines = [f"disc.png,threshold,{BOX},a.png", f"disc.png,threshold,{BOX},A.png"]
    with pytest.raises(BadInput, match=r"line 3: A\.png is written by line 2 already; give another output"):
        items(told("image,system,box,output", *lines), {})


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (("system,box",), "line 1: wanted a column image with the path of each image; its columns are system, box."),
        (("image,box",), "line 2: wanted a line for each image, and there is none."),
        (("image,boxx", "disc.png,1"), "line 1: there is no column boxx (did you mean box?); wanted image, system, "),
        (("image,image", "disc.png,1"), "line 1: the column image is there twice."),
        (("image,box", "disc.png"), "line 2: 1 cells; wanted 2, one for each column."),
        (("image,box", 'disc.png,"1'), "wanted CSV."),
    ],
)
def test_a_table_that_is_none_is_a_sentence(hilum, told, tmp_path, lines, sentence):
    ended = hilum("run", told(*lines), "-o", tmp_path / "out")
    assert ended.code == 2
    assert sentence in ended.err
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_here_are_said_before_anything(hilum, told, tmp_path):
    ended = hilum("run", told("image,system,labels", 'disc.png,plip,"a, b"'), "-o", tmp_path / "out")
    assert ended.code == 1
    assert "the weights of plip are not on this machine" in ended.err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_shows_the_plan_and_does_nothing(hilum, told, tmp_path):
    jobs = told("image,system,box,output", f"disc.png,threshold,{BOX},a.png", f"disc.png,,{BOX},")
    ended = hilum("run", jobs, "-o", tmp_path / "out", "--dry-run")
    assert ended.code == 0
    head, first, second, last = ended.out.splitlines()
    assert head.split() == ["line", "image", "system", "prompts", "file", "state"]
    assert first.split() == ["2", "disc.png", "threshold", "box", "a.png", "to", "do"]
    assert "the best that is here" in second
    assert last == "2 of 2 to do; nothing was done."
    assert not (tmp_path / "out").exists()


def test_where_it_runs_is_one_of_two_places(hilum, told, tmp_path):
    ended = hilum("run", told("image", "disc.png"), "-o", tmp_path / "out", "--on", "moon")
    assert ended.code == 2
    assert ended.err.strip().endswith("--on moon: wanted processes or ray.")
