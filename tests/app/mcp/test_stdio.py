"""`hilum mcp` as a program: an agent's client starts it, speaks on stdin and stdout, and ends it."""

import asyncio
import os
import sys

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from mcp import Client, StdioServerParameters, stdio_client
from typer.testing import CliRunner

from hilum.app.cli import app
from phantoms import CANARY, ct_series


def test_a_client_starts_the_program_asks_scout_and_ends_it(tmp_path):
    ct_series(tmp_path / "ct")
    (tmp_path / "masks").mkdir()
    words = ["-m", "hilum.app.cli", "mcp", "ct", "-o", "masks", "--backend", "torch"]
    program = StdioServerParameters(command=sys.executable, args=words, cwd=tmp_path, env=dict(os.environ))
    log = tmp_path / "log"

    async def conversation():
        with log.open("w") as stderr:
            async with Client(stdio_client(program, errlog=stderr)) as client:
                images = (await client.call_tool("list_images")).structured_content["images"]
                asked = {"image": images[0]["id"], "points": [{"at": [20, 16, 5]}]}
                answer = await client.call_tool("ask", asked)
                saved = await client.call_tool("save_answer", {"answer": answer.structured_content["answer"]})
                return answer, saved

    answer, saved = asyncio.run(conversation())
    assert answer.structured_content["answered_by"]["system"] == "scout"
    assert [block.type for block in answer.content] == ["text", "image"]
    assert (tmp_path / "masks" / saved.structured_content["saved"]).is_file()
    assert "image-1: ct" in log.read_text()
    assert not any(value in log.read_text() for value in CANARY.values())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing.nii.gz"], "no such file"),
        (["ct", "-o", "none"], "names a folder that is there"),
        (["ct", "--spacing", "a"], "--spacing"),
        (["ct", "--series", "9"], "--series 9"),
    ],
)
def test_what_is_wrong_is_said_to_the_user_at_the_start(tmp_path, monkeypatch, words, sentence):
    ct_series(tmp_path / "ct")
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["mcp", *words])
    assert ended.exit_code == 2
    assert sentence in ended.output
