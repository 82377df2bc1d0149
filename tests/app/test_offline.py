"""Nothing opens a connection: the main paths run in a process of their own where every socket is an error.

urllib3, which pydicom imports, makes a socket at import to see whether the machine has IPv6; it connects to nothing, is
refused like all others, and is not counted.
"""

import json
import subprocess
import sys

from phantoms import ct_series

BLOCKED = """
import json, socket, sys, traceback

tried = []

def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"):
        tried.append(event)
        raise OSError("no network here")
    if event == "socket.__new__" and args[1] != socket.AF_UNIX:
        if "_has_ipv6" not in {frame.name for frame in traceback.extract_stack(limit=8)}:
            tried.append(str(args[1:]))
        raise OSError("no sockets here")

sys.addaudithook(refuse)
from hilum.app.cli import main

codes = {}
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as ended:
        codes[" ".join(words)] = ended.code or 0
AFTER
print(json.dumps({"codes": codes, "tried": tried}))
"""
COMPILED = """
import torch
from hilum.backends.openvino import OpenVino
OpenVino("f32").compile(torch.nn.Linear(4, 4), (1, 4), key="")(torch.zeros(1, 4))
"""


def run(commands: list[list[str]], after: str = "") -> dict:
    source = BLOCKED.replace("AFTER", after)
    ran = subprocess.run(
        [sys.executable, "-c", source, json.dumps(commands)], capture_output=True, text=True, check=True
    )
    return json.loads(ran.stdout.splitlines()[-1])


def test_the_main_paths_run_without_a_network(tmp_path, disc):
    ct_series(tmp_path / "ct", "oblique")
    scout = ["ask", "scout", str(disc), "--box", "11,9:29,27", "-o", str(tmp_path / "mask.png")]
    commands = [
        ["list"],
        ["card", "scout", "--here"],
        ["inspect", str(tmp_path / "ct"), "--sheet", str(tmp_path / "sheet.png")],
        ["doctor"],
        ["weights", "list"],
        scout,
        [
            "ask",
            str(tmp_path / "ct"),
            "--box",
            "12,8,3:28,24,6",
            "-o",
            str(tmp_path / "mask.dcm"),
            "--preview",
            str(tmp_path / "p.png"),
        ],
        ["check", "scout"],
    ]
    ended = run(commands, COMPILED)
    assert ended["tried"] == []
    assert {words: code for words, code in ended["codes"].items() if code != 0} == {}
    assert (tmp_path / "mask.png").is_file()
    assert (tmp_path / "mask.dcm").is_file()


def test_the_block_itself_works():
    """A download must fail here, or the test above proves nothing."""
    source = "import urllib.request\ntry:\n    urllib.request.urlopen('http://127.0.0.1:9')\nexcept OSError:\n    pass"
    assert run([], source)["tried"] != []
