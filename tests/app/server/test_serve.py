"""`hilum serve` and `hilum open` as a person starts them: what they print, whom they let in, what they leave behind."""

import importlib.util
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from hilum.app.server.running import address
from hilum.app.server.settings import Settings
from served import ball

HILUM = (sys.executable, "-m", "hilum.app.cli")


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts the program; what it prints first, and the process; ended as by Ctrl-C from another window."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    running = []

    def start(*words):
        process = subprocess.Popen([*HILUM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process.stdout.readline().strip(), process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def ended(process):
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    return out, err


def test_open_prints_one_address_whose_token_opens_that_image(started, tmp_path):
    ball(tmp_path / "Canary^Yellow.nii.gz")
    line, process = started("open", str(tmp_path / "Canary^Yellow.nii.gz"), "--modality", "CT")
    found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/\?token=([\w-]{32})#([0-9a-f]{32})", line)
    assert found, line
    server, token, image = found.groups()
    assert httpx.get(f"{server}/api/images", timeout=120).status_code == 401
    with httpx.Client(base_url=server, follow_redirects=True, timeout=120) as browser:
        page = browser.get(f"/?token={token}")
        assert token not in str(page.url)
        told = browser.get(f"/api/images/{image}").json()
    assert (told["size"], told["modality"], told["expires"]) == ([40, 32, 10], "CT", None)
    assert [path.name[:11] for path in tmp_path.iterdir() if path.is_dir()] == ["hilum-open-"]
    out, err = ended(process)
    assert out == ""
    assert "Canary" not in err
    assert token not in err
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_serve_tells_its_address_and_logs_patterns_only(started, tmp_path):
    line, process = started("serve", "--port", "0", "--state", str(tmp_path / "state"))
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", line), line
    assert httpx.get(f"{line}api/", timeout=120).json()["notice"] == "research use only, not a medical device"
    httpx.get(f"{line}api/images/Canary?name=Yellow", timeout=120)
    httpx.get(f"{line}Canary", headers={"user-agent": "Canary"}, timeout=120)
    _, err = ended(process)
    assert "GET /api/images/{id} 422" in err
    assert "GET (another address) 404" in err
    assert "Canary" not in err
    assert "Yellow" not in err


def test_a_second_server_on_a_port_is_told_in_a_sentence(started, tmp_path, hilum_words):
    line, _ = started("serve", "--port", "0", "--state", str(tmp_path / "one"))
    port = line.rstrip("/").rpartition(":")[2]
    ended_ = hilum_words("serve", "--port", port, "--state", str(tmp_path / "two"))
    assert ended_.code == 2
    assert f"--port {port} cannot be listened on" in ended_.err
    ended_ = hilum_words("serve", "--port", "0", "--state", str(tmp_path / "one"))
    assert ended_.code == 2
    assert "another hilum server uses" in ended_.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("serve", "--host", "0.0.0.0"), "--host 0.0.0.0 lets other machines ask this one: give a --token"),
        (("serve", "--token", "short"), "--token has at least 8 characters"),
        (("open", "nothing.nii.gz"), "no such file: nothing.nii.gz"),
        (("open", __file__), "hilum reads"),
        (("serve", "--device", "quantum"), "--device quantum: on this machine choose"),
    ],
)
def test_what_cannot_be_is_one_sentence(hilum_words, tmp_path, monkeypatch, words, sentence):
    monkeypatch.setenv("HILUM_STATE", str(tmp_path / "state"))
    ended_ = hilum_words(*words)
    assert ended_.code == 2
    assert sentence in ended_.err
    assert "Traceback" not in ended_.err


def test_without_the_extra_the_sentence_says_how_to_get_it(hilum_words, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else there(name))
    ended_ = hilum_words("serve")
    assert ended_.code == 1
    assert ended_.err.strip().endswith("pip install 'hilum[serve]'")


def test_help_needs_neither_torch_nor_the_server_packages():
    code = (
        "import sys; from hilum.app.cli import app; import typer.main; typer.main.get_command(app); "
        "print(sorted({'torch', 'fastapi', 'uvicorn', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_address_is_one_that_can_be_gone_to():
    token = "a-token-of-some-length"
    everywhere = Settings(state=Path("state"), host="0.0.0.0", token=token, port=80)
    assert "0.0.0.0" not in address(everywhere)
    assert token not in address(everywhere)
    assert everywhere.called("192.168.1.7")
    assert not everywhere.called("evil.example")
    assert not Settings(state=Path("state")).called("192.168.1.7")
    assert address(Settings(state=Path("state"), host="::1", port=8000)) == "http://[::1]:8000/"


@pytest.mark.parametrize("cookie", ["a@b=1", "expires=1; hilum_token_8000", "=;=;\x80"])
def test_an_odd_cookie_is_no_error(serve, cookie):
    client = serve(token="a-token-of-some-length")
    assert client.get("/api/", headers={"cookie": cookie.encode("latin-1")}).status_code == 401
