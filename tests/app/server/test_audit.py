"""The audit log: a line for each thing that was done, and any later change of it is found."""

import json

import pytest

from hilum.app.server.audit import Audit, last, verify
from hilum.values.errors import Failed
from served import BOX, begun, disc, said, uploaded


@pytest.fixture
def log(tmp_path):
    audit = Audit(tmp_path / "audit.jsonl")
    for number in range(5):
        audit.note("answer", number=number)
    audit.close()
    return audit.path


def lines(log):
    return log.read_text().splitlines()


def test_a_log_that_nobody_touched_is_whole(log):
    assert verify(log) == 5
    assert json.loads(lines(log)[-1])["hash"] == last(log)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda kept: [*kept[:1], *kept[2:]], "before line 2"),
        (lambda kept: [kept[0], kept[2], kept[1], *kept[3:]], "before line 2"),
        (lambda kept: [kept[0].replace('"number": 0', '"number": 7'), *kept[1:]], "line 1 .* was changed"),
        (lambda kept: [*kept[:2], kept[1], *kept[2:]], "before line 3"),
        (lambda kept: [*kept[:2], "torn", *kept[2:]], "line 3 .* was changed"),
        (lambda kept: [*kept, "torn"], "line 6 .* was changed"),
        (lambda kept: kept[1:], "before line 1"),
    ],
    ids=["taken out", "reordered", "changed", "doubled", "torn", "torn end", "beginning"],
)
def test_every_change_is_found(log, harm, said):
    log.write_text("\n".join(harm(lines(log))) + "\n")
    with pytest.raises(Failed, match=said):
        verify(log)


def test_what_is_cut_off_the_end_shows_by_the_last_seal(log):
    seal = last(log)
    log.write_text("\n".join(lines(log)[:-1]) + "\n")
    assert verify(log) == 4
    assert last(log) != seal


def test_a_line_that_a_killed_process_left_unfinished_is_told(log):
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    audit = Audit(log)
    audit.note("answer", number=5)
    audit.close()
    assert verify(log) == 6
    assert [json.loads(line)["event"] for line in lines(log)[-2:]] == ["cut", "answer"]


def test_what_is_asked_of_a_server_is_noted_and_verified_by_the_command(client, hilum_words):
    house = client.app.state.house
    image = uploaded(client, disc())
    session = begun(client, image)
    said(client, session, BOX)
    client.get(f"/api/sessions/{session}/save", params={"as": ".json"})
    client.delete(f"/api/images/{image}")
    noted = [json.loads(line) for line in lines(house.audit.path)]
    assert [each["event"] for each in noted] == ["image", "answer", "saved", "image deleted"]
    answer = noted[1]
    assert (answer["system"], answer["prompts"], len(answer["image_sha256"])) == ("scout", ["box"], 64)
    assert len(answer["weights_sha256"]) == len(answer["answer_sha256"]) == 64
    ended = hilum_words("audit", "verify", str(house.audit.path))
    assert (ended.code, "4 lines, each whole and in its place" in ended.out) == (0, True)
    house.audit.path.write_text(house.audit.path.read_text().replace('"scout"', '"medsam"', 1))
    ended = hilum_words("audit", "verify", str(house.audit.path))
    assert (ended.code, "was changed after it was written" in ended.err) == (1, True)
    assert hilum_words("audit", "verify", "/nothing").code == 2
