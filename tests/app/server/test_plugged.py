"""The plug-in door at the server: a system of another package is offered and asked; a broken one is told, no more."""

from hilum.app.new_system import texts
from plugged import lay, plugged
from served import BOX, begun, disc, said, uploaded


def test_a_plug_in_is_offered_and_answers(serve, tmp_path):
    lay(tmp_path / "site", "glow", texts("glow"))
    with plugged(tmp_path / "site"):
        client = serve()
        offered = {each["name"]: each for each in client.get("/api/systems").json()["systems"]}
        assert offered["glow"]["accepts"] == ["points", "box", "mask"]
        answer = said(client, begun(client, uploaded(client, disc()), "glow"), BOX)
        assert answer.status_code == 200, answer.text
        assert "249" in answer.text


def test_a_broken_one_is_a_problem_of_its_own(serve, tmp_path):
    lay(tmp_path / "site", "glow", {**texts("glow"), "glow.py": "1 / 0"})
    with plugged(tmp_path / "site"):
        client = serve()
        assert "scout" in client.get("/api/systems").text
        image = uploaded(client, disc())
        refused = client.post("/api/sessions", json={"image": image, "system": "glow"})
        told = refused if refused.status_code >= 400 else said(client, refused.json()["id"], BOX)
        assert told.status_code >= 400
        assert "the module of glow cannot be imported: ZeroDivisionError" in told.text
        answer = said(client, begun(client, image), BOX)
        assert answer.status_code == 200, answer.text
