"""Prompts in, masks out: as on the command line, with undo, names, files and the command that would do the same."""

import shlex

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow

from served import BOX, ball, begun, disc, said, uploaded


def test_a_box_gives_the_mask_that_the_library_gives(client, tmp_path):
    import hilum

    session = begun(client, uploaded(client, disc()))
    told = said(client, session, BOX).json()
    (tmp_path / "disc.png").write_bytes(disc())
    wanted = hilum.load("scout", backend="torch").ask(
        hilum.read(tmp_path / "disc.png"), hilum.Box([11, 9], [29, 27], name="object")
    )
    assert told["objects"][0]["voxels"] == wanted.voxels()[0] > 200
    assert told["objects"][0]["score"] == pytest.approx(wanted.scores[0])
    assert told["notice"] == "research use only, not a medical device"
    assert told["provenance"]["weights"] == "scout.pocket"
    raw = client.get(f"/api/sessions/{session}/mask.raw")
    shape = tuple(map(int, raw.headers["x-shape"].split(",")))[::-1]
    np.testing.assert_array_equal(np.frombuffer(raw.content, np.uint8).reshape(shape) == 1, wanted.masks[0])
    runs = client.get(f"/api/sessions/{session}/objects/1/runs").json()["runs"]
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    np.testing.assert_array_equal(flat.reshape(shape), wanted.masks[0])


def test_clicks_refine_and_can_be_undone_and_done_again(client):
    session = begun(client, uploaded(client, disc()))
    first = said(client, session, BOX).json()["objects"][0]
    click = {"kind": "points", "at": [[13, 11]], "inside": [False]}
    second = said(client, session, click).json()["objects"][0]
    assert [prompt["kind"] for prompt in second["prompts"]] == ["box", "points"]
    back = client.post(f"/api/sessions/{session}/undo").json()
    assert back["objects"][0] == first
    assert (back["undo"], back["redo"]) == (1, 1)
    assert client.post(f"/api/sessions/{session}/redo").json()["objects"][0] == second
    refused = client.post(f"/api/sessions/{session}/redo")
    assert refused.status_code == 422
    assert refused.json()["detail"] == "there is nothing to redo in this session."


def test_several_objects_have_names_numbers_and_colours_of_their_own(client):
    session = begun(client, uploaded(client, disc()))
    said(client, session, BOX, name="disc")
    told = said(client, session, {"kind": "points", "at": [[50, 5]]}, name="corner").json()
    assert [(each["number"], each["name"]) for each in told["objects"]] == [(1, "disc"), (2, "corner")]
    assert len({each["colour"] for each in told["objects"]}) == 2
    renamed = client.patch(f"/api/sessions/{session}/objects/2", json={"name": "edge", "colour": "#00ff00"}).json()
    assert (renamed["objects"][1]["name"], renamed["objects"][1]["colour"]) == ("edge", "#00ff00")
    twice = client.patch(f"/api/sessions/{session}/objects/2", json={"name": "disc"})
    assert twice.status_code == 422
    left = client.request("DELETE", f"/api/sessions/{session}/objects/1").json()
    assert [each["name"] for each in left["objects"]] == ["edge"]
    assert [each["name"] for each in client.post(f"/api/sessions/{session}/undo").json()["objects"]] == ["disc", "edge"]


def test_a_volume_is_asked_and_saved_on_its_own_grid(client, tmp_path):
    image = uploaded(client, ball(tmp_path / "ball.nii.gz"), modality="CT")
    session = begun(client, image)
    told = said(client, session, {"kind": "box", "low": [11, 7, 5], "high": [29, 25, 5]}, name="ball").json()
    assert told["objects"][0]["millilitres"] == pytest.approx(told["objects"][0]["voxels"] * 0.002)
    saved = client.get(f"/api/sessions/{session}/save", params={"as": ".nii.gz"})
    assert saved.headers["content-disposition"] == 'attachment; filename="mask.nii.gz"'
    (tmp_path / "mask.nii.gz").write_bytes(saved.content)
    mask, given = nibabel.load(tmp_path / "mask.nii.gz"), nibabel.load(tmp_path / "ball.nii.gz")
    np.testing.assert_array_equal(mask.affine, given.affine)
    assert int((np.asarray(mask.dataobj) > 0).sum()) == told["objects"][0]["voxels"]
    viewed = tmp_path / "volume.nii.gz"
    viewed.write_bytes(client.get(f"/api/images/{image}/volume.nii.gz").content)
    np.testing.assert_array_equal(nibabel.load(viewed).get_fdata(), given.get_fdata())


def test_the_command_line_that_is_shown_does_the_same(client, tmp_path, hilum_run):
    (tmp_path / "disc.png").write_bytes(disc())
    session = begun(client, uploaded(client, disc()))
    said(client, session, BOX, name="the disc")
    told = said(client, session, {"kind": "points", "at": [[2, 3]], "inside": [False]}, name="the disc")
    words = shlex.split(told.json()["command"])
    assert words[:2] == ["hilum", "ask"]
    given = [str(tmp_path / "disc.png") if word == "IMAGE" else word for word in words[1:-2]]
    answer = hilum_run(*given, "--json", "--backend", "torch")
    assert answer["objects"][0]["voxels"] == told.json()["objects"][0]["voxels"]
    made, shown = answer["provenance"], told.json()["provenance"]
    assert {**made, "prompts": None} == {**shown, "prompts": None}


def test_scribbles_travel_as_lines_and_first_masks_as_runs(client):
    session = begun(client, uploaded(client, disc()))
    line = {"lines": [[[16, 18], [24, 18]]], "width": 3}
    told = said(client, session, {"kind": "scribble", "inside": line, "outside": {"lines": [[[2, 2], [9, 2]]]}}).json()
    assert told["provenance"]["prompts"][0]["inside_voxels"] == 9 * 3 + 2
    assert told["provenance"]["prompts"][0]["outside_voxels"] == 8
    runs = client.get(f"/api/sessions/{session}/objects/1/runs").json()["runs"]
    again = said(client, session, {"kind": "mask", "drawn": {"runs": runs}}, name="again").json()
    assert again["provenance"]["prompts"][0]["voxels"] == told["objects"][0]["voxels"]
    wrong = said(client, session, {"kind": "mask", "drawn": {"runs": [1, 2]}})
    assert wrong.json()["detail"] == "runs: they add up to 3 voxels, the image's grid has 2400."


def test_another_system_takes_over_what_was_said(client):
    image = uploaded(client, disc())
    session = begun(client, image)
    said(client, session, BOX, name="disc")
    other = client.post("/api/sessions", json={"image": image, "system": "medsam", "like": session}).json()
    done = client.get(f"/api/jobs/{other['jobs'][0]}", params={"wait": 60}).json()
    assert done["state"] == "done"
    told = client.get(f"/api/sessions/{other['id']}").json()
    assert told["provenance"]["weights"] == "medsam.pocket"
    assert told["objects"][0]["name"] == "disc"


def test_a_client_that_has_not_seen_the_last_change_is_told(client):
    session = begun(client, uploaded(client, disc()))
    assert said(client, session, BOX, revision=0).json()["revision"] == 1
    late = said(client, session, BOX, revision=0)
    assert late.status_code == 409
    assert late.json()["detail"].startswith("the session is at revision 1, the request was made at 0")


def test_planes_are_pictures_in_radiological_orientation_with_layers_of_the_same_size(client, tmp_path):
    image = uploaded(client, ball(tmp_path / "ball.nii.gz"))
    planes = client.get(f"/api/images/{image}").json()["planes"]
    assert [each["sides"] for each in planes] == [["A", "P", "S", "I"], ["R", "L", "S", "I"], ["R", "L", "A", "P"]]
    session = begun(client, image)
    said(client, session, {"kind": "box", "low": [11, 7, 5], "high": [29, 25, 5]})
    for axis, index in ((0, 20), (1, 16), (2, 5)):
        shown = planes[axis]
        for address in (f"/api/images/{image}", f"/api/sessions/{session}"):
            answer = client.get(f"{address}/planes/{axis}/{index}.png")
            assert answer.headers["content-type"] == "image/png"
            (tmp_path / "plane.png").write_bytes(answer.content)
            with Pillow.open(tmp_path / "plane.png") as picture:
                assert picture.size == (shown["width"], shown["height"])
    outside = client.get(f"/api/images/{image}/planes/2/10.png")
    assert outside.json()["detail"] == "across axis 2 the image has planes 0 to 9, got 10."


def test_what_a_system_does_not_take_is_refused_in_the_words_of_the_command_line(client):
    session = begun(client, uploaded(client, disc()), "medsam")
    answer = said(client, session, {"kind": "points", "at": [[20, 18]]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith("medsam takes box, got Points. Systems that take points: ")
