"""What tests say to a server: small images, uploads, sessions, prompts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image as Pillow
from starlette.testclient import TestClient


def disc(radius: float = 9.0) -> bytes:
    """A PNG of 60 x 40 pixels: a bright disc around (20, 18) on dark grey."""
    y, x = np.ogrid[:40, :60]
    values = np.where((x - 20) ** 2 + (y - 18) ** 2 < radius**2, 220, 30).astype(np.uint8)
    stream = io.BytesIO()
    Pillow.fromarray(values).save(stream, format="PNG")
    return stream.getvalue()


def ball(path: Path) -> bytes:
    """A NIfTI of 40 x 32 x 10 voxels: a bright ball around (20, 16, 5)."""
    x, y, z = np.ogrid[:40, :32, :10]
    values = np.where((x - 20) ** 2 + (y - 16) ** 2 + (2.0 * (z - 5)) ** 2 < 64, 300, -20).astype(np.int16)
    nibabel.Nifti1Image(values, np.diag([-1.0, -1.0, 2.0, 1.0])).to_filename(path)
    return path.read_bytes()


def uploaded(client: TestClient, content: bytes, **query: Any) -> str:
    """The id of an image that was sent."""
    answer = client.post("/api/images", files={"file": ("x", content)}, params=query)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def begun(client: TestClient, image: str, system: str = "scout") -> str:
    """The id of a new session."""
    answer = client.post("/api/sessions", json={"image": image, "system": system})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


BOX = {"kind": "box", "low": [11, 9], "high": [29, 27]}


def said(client: TestClient, session: str, *prompts: dict[str, Any], name: str = "object", **more: Any) -> Any:
    """What a session answers to prompts about one object."""
    asked = {"object": name, "prompts": list(prompts), **more}
    return client.post(f"/api/sessions/{session}/prompts", json=asked, params={"wait": 600})
