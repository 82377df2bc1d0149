"""An agent's side of `hilum mcp`, by the library's own client: ids in, ids and pictures out, and never a name."""

import asyncio
import base64
import itertools
import json
import re
import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import anyio
import nibabel
from app.conftest import threshold  # noqa: F401  a fixture
from mcp import Client

import hilum as library
from hilum.app.mcp.desk import Desk
from hilum.app.mcp.kept import Kept
from hilum.app.mcp.server import serving
from hilum.app.mcp.shelf import Shelf
from hilum.values import progress
from phantoms import CANARY, ct_series

SONG = re.compile("|".join(["canary", "yellow", *(re.escape(value) for value in CANARY.values())]), re.IGNORECASE)
BOX = {"low": [12, 8, 3], "high": [28, 24, 6]}


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    """<...>/Canary_Yellow/scan_of_Canary: a CT whose files are named after the patient too."""
    folder = tmp_path_factory.mktemp("patients") / "Canary_Yellow" / "scan_of_Canary"
    ct_series(folder, "tilted")
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(path.with_name(f"Canary_Yellow_{number:03d}.dcm"))
    return folder


@pytest.fixture
def desk(scan, tmp_path, threshold) -> Desk:  # noqa: F811
    """A series, one slice of it, and a folder for masks."""
    (tmp_path / "Canary_masks").mkdir()
    return Desk(Shelf([scan, min(scan.iterdir())], {}), tmp_path / "Canary_masks", backend="torch")


def beside(picture: bytes) -> str:
    """The words that a picture carries beside its pixels."""
    return repr(Pillow.open(BytesIO(picture)).info)


class Agent:
    """One conversation for each call; all that was heard is kept."""

    def __init__(self, desk: Desk, **given):
        self.server, self.heard = serving(desk, **given), []

    def tools(self) -> dict:
        """By name."""
        return {tool.name: tool for tool in asyncio.run(self._tools())}

    async def _tools(self):
        async with Client(self.server) as client:
            tools = (await client.list_tools()).tools
            self.heard += [tool.model_dump_json() for tool in tools]
            return tools

    def call(self, name: str, **arguments):
        """(told, picture) of a call that went well."""
        result = asyncio.run(self._call(name, arguments))
        assert not result.is_error, result.content[0].text
        pictures = [base64.b64decode(each.data) for each in result.content[1:]]
        assert json.loads(result.content[0].text) == result.structured_content
        return result.structured_content, pictures[0] if pictures else None

    def refused(self, name: str, **arguments) -> str:
        """The sentence of a call that did not."""
        result = asyncio.run(self._call(name, arguments))
        assert result.is_error
        return result.content[0].text

    async def _call(self, name, arguments):
        async def hear(progress, total, message):
            self.heard.append(f"{progress} {total} {message}")

        async with Client(self.server) as client:
            result = await client.call_tool(name, arguments, progress_callback=hear)
        for block in result.content:
            self.heard.append(block.text if block.type == "text" else beside(base64.b64decode(block.data)))
        return result


@pytest.fixture
def agent(desk) -> Agent:
    return Agent(desk)


def test_the_tools_are_told_with_their_schemas(agent):
    tools = agent.tools()
    assert set(tools) == {"list_systems", "describe_system", "list_images", "show_image", "ask", "save_answer"}
    assert tools["ask"].annotations.read_only_hint
    assert not tools["save_answer"].annotations.read_only_hint
    words = [word for tool in tools.values() for word in tool.input_schema["properties"]]
    assert not [word for word in words if re.search("path|file|folder|url", word)]


def test_systems_are_listed_by_what_they_take(agent):
    told, _ = agent.call("list_systems", takes="box", modality="CT")
    names = [each["name"] for each in told["systems"]]
    assert {"scout", "threshold", "medsam"} <= set(names)
    assert next(each for each in told["systems"] if each["name"] == "medsam")["weights_here"] == ["pocket"]
    told, _ = agent.call("describe_system", system="scout")
    assert (told["name"], told["notice"]) == ("scout", "research use only, not a medical device")


def test_images_are_ids_with_their_geometry(agent):
    told, _ = agent.call("list_images")
    volume, plane = told["images"]
    assert (volume["id"], volume["size"], volume["modality"]) == ("image-1", [40, 32, 10], "CT")
    assert plane["notes"] == ["image-2 is one slice; a volume is read from all files of its series"]


def test_a_box_gives_a_mask_with_a_preview_and_the_mask_that_the_library_gives(agent, desk, scan):
    told, picture = agent.call("ask", image="image-1", system="threshold", boxes=[{**BOX, "object": "liver"}])
    image = library.read(scan)
    own = library.load("threshold").ask(image, library.Box(BOX["low"], BOX["high"], name="liver"))
    (liver,) = told["objects"]
    assert (liver["name"], liver["voxels"]) == ("liver", int(own.masks[0].sum()))
    assert told["notice"] == "research use only, not a medical device"
    assert Pillow.open(BytesIO(picture)).format == "PNG"
    assert np.array_equal(desk.answer(told["answer"]).masks, own.masks)


def test_a_click_refines_what_was_said_before(agent):
    first, _ = agent.call("ask", image="image-1", system="threshold", boxes=[BOX])
    again, _ = agent.call(
        "ask", image="image-1", system="threshold", boxes=[BOX], points=[{"at": [20, 16, 5], "inside": True}]
    )
    assert (first["answer"], again["answer"]) == ("answer-1", "answer-2")


def test_places_may_be_millimetres(agent, scan):
    affine = library.read(scan).affine
    corners = [(affine @ [*corner, 1.0])[:3].tolist() for corner in (BOX["low"], BOX["high"])]
    low, high = np.sort(corners, axis=0).tolist()
    told, _ = agent.call("ask", image="image-1", system="threshold", boxes=[{"low": low, "high": high}], unit="mm")
    assert told["objects"][0]["voxels"] > 0


def test_a_mask_is_saved_under_its_id_and_never_over_another(agent, desk, scan):
    agent.call("ask", image="image-1", system="threshold", boxes=[BOX])
    assert agent.call("save_answer", answer="answer-1")[0] == {"saved": "answer-1.nii.gz"}
    assert agent.call("save_answer", answer="answer-1", format="dcm")[0] == {"saved": "answer-1.dcm"}
    saved = nibabel.load(desk.folder / "answer-1.nii.gz")
    assert np.array_equal(saved.get_fdata().T.astype(bool), desk.answer("answer-1").masks[0])
    assert "is there already and is left as it is" in agent.refused("save_answer", answer="answer-1")
    later = Agent(Desk(desk.shelf, desk.folder, backend="torch"))
    told, _ = later.call("ask", image="image-1", system="threshold", boxes=[BOX])
    assert told["answer"] == "answer-2"


def test_a_shown_plane_says_which_voxels_its_pixels_are(agent, scan):
    told, picture = agent.call("show_image", image="image-1", axis="z", index=5)
    pixels = np.asarray(Pillow.open(BytesIO(picture)))[..., 0]
    assert pixels.shape == (told["height"], told["width"])
    image = library.read(scan)
    shown = image.display(image.array[0, 5]) * 255
    runs = told["voxel_of_pixel"]
    for x, y in ((20, 16), (8, 10), (33, 25)):
        right = (x - runs["x"]["at_left_top"]) / runs["x"]["per_pixel"]
        down = (y - runs["y"]["at_left_top"]) / runs["y"]["per_pixel"]
        assert abs(int(pixels[round(down), round(right)]) - shown[y, x]) < 40
    assert told["sides"] == {"left": "R", "right": "L", "top": "A", "bottom": "P"}


@pytest.mark.parametrize(("axis", "count"), [("x", 40), ("y", 32), ("z", 10)])
def test_every_axis_has_its_planes_and_no_more(agent, axis, count):
    told, _ = agent.call("show_image", image="image-1", axis=axis)
    assert told["plane"] == {"axis": axis, "index": count // 2}
    assert f"planes 0 to {count - 1}" in agent.refused("show_image", image="image-1", axis=axis, index=count)


@pytest.mark.parametrize("word", ["../scan", "/etc/passwd", "image-9", "scan_of_Canary", "image-1/../image-2"])
def test_an_image_is_never_a_path(agent, word):
    assert "there are: image-1, image-2" in agent.refused("ask", image=word, boxes=[BOX])


def test_a_system_is_never_a_path(agent, tmp_path):
    for word in (str(tmp_path), "./my_adapter/", "nothing"):
        assert "list_systems names all" in agent.refused("ask", image="image-1", system=word, boxes=[BOX])
        assert "list_systems names all" in agent.refused("describe_system", system=word)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"boxes": [{"low": [9, 9, 1], "high": [1, 1, 1]}]}, "box corners are swapped"),
        ({"boxes": [{"low": [9, 9], "high": [1, 1, 1]}]}, "box corners have 2 and 3"),
        ({"boxes": [{"low": [900, 900, 1], "high": [901, 901, 2]}]}, "box"),
        ({"boxes": [{"low": ["a", 9], "high": [1, 1]}]}, "valid number"),
        ({"boxes": [{**BOX, "path": "/etc/passwd"}]}, "not permitted"),
        ({"points": [{"at": [1]}]}, "at least 2"),
        ({"labels": ["liver", "liver"]}, "a name is there twice"),
        ({"question": "what is it?"}, "threshold takes"),
        ({}, "threshold wants a prompt"),
        ({"boxes": [BOX], "image": "x" * 2000}, "at most 1000"),
        ({"system": "medsam", "points": [{"at": [1, 1, 1]}]}, "Systems that take points: .*scout"),
        ({"system": "sam_study.vit_b", "boxes": [BOX]}, "weights"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_a_sentence(agent, arguments, sentence):
    assert re.search(sentence, agent.refused("ask", **{"image": "image-1", "system": "threshold", **arguments}))


def test_what_nobody_foresaw_does_not_quote(agent, desk, monkeypatch):
    def broken(*_):
        raise KeyError("Canary^Yellow")

    monkeypatch.setattr(desk, "ask", broken)
    assert "KeyError" in agent.refused("ask", image="image-1", boxes=[BOX])


def test_a_question_that_is_called_off_ends(desk, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def endless(*_):
        try:
            for step in itertools.count():
                progress.count("steps", step, 1 << 30)
                begun.set()
        finally:
            ended.set()

    async def impatient():
        async with Client(serving(desk)) as client:
            asked = {"image": "image-1", "boxes": [BOX]}
            with anyio.move_on_after(60) as patience:
                async with anyio.create_task_group() as group:
                    group.start_soon(client.call_tool, "ask", asked)
                    await anyio.to_thread.run_sync(begun.wait)
                    group.cancel_scope.cancel()
            assert not patience.cancelled_caught
            return await anyio.to_thread.run_sync(ended.wait, 60)

    monkeypatch.setattr(desk, "ask", endless)
    assert asyncio.run(impatient())


def test_without_pictures_there_are_none(desk):
    agent = Agent(desk, pictures=False)
    assert "show_image" not in agent.tools()
    told, picture = agent.call("ask", image="image-1", system="threshold", boxes=[BOX])
    assert (picture, told["objects"][0]["voxels"] > 0) == (None, True)


def test_without_a_folder_nothing_is_saved(desk):
    agent = Agent(Desk(desk.shelf, None, backend="torch"))
    agent.call("ask", image="image-1", system="threshold", boxes=[BOX])
    assert "without -o FOLDER" in agent.refused("save_answer", answer="answer-1")


def test_an_answer_that_never_was_is_not_saved(agent):
    assert "no answer 'answer-7'" in agent.refused("save_answer", answer="answer-7")


def test_nothing_sings(agent, desk):
    """Everything that an agent can reach, and every file that it could not."""
    agent.tools()
    agent.call("list_systems")
    agent.call("describe_system", system="scout")
    agent.call("list_images")
    for id in ("image-1", "image-2"):
        agent.call("show_image", image=id)
    agent.call("ask", image="image-1", system="threshold", boxes=[BOX])
    agent.call("ask", image="image-2", system="threshold", boxes=[{"low": [12, 8], "high": [28, 24]}])
    for format in ("dcm", "nii.gz", "dcm"):
        asyncio.run(agent._call("save_answer", {"answer": "answer-1", "format": format}))
    one = desk.shelf.places["image-2"]
    content = one.read_bytes()
    one.unlink()
    try:
        assert "the source file image-2 is gone" in agent.refused("save_answer", answer="answer-2", format="dcm")
    finally:
        one.write_bytes(content)
    assert len(agent.heard) > 20
    assert [text for text in agent.heard if SONG.search(text)] == []


def test_images_that_are_not_used_are_read_again(scan):
    shelf = Shelf([scan, min(scan.iterdir())], {})
    first = shelf.image("image-1")
    shelf._images.room = 1
    shelf.image("image-2")
    shelf._images.settle()
    again = shelf.image("image-1")
    assert again is not first
    assert np.array_equal(again.array, first.array)


def test_the_newest_is_always_kept():
    kept = Kept(10, len)
    kept.put("a", "1234")
    kept.put("b", "1234")
    kept.get("a")
    kept.put("c", "1234")
    assert [kept.get(name) for name in "abc"] == ["1234", None, "1234"]
    kept.put("d", "1" * 50)
    assert [kept.get(name) for name in "acd"] == [None, None, "1" * 50]
