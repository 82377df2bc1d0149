"""A person's session in a real napari, as a program: open a folder, draw, ask, save; says in JSON what was seen.

python napari_session.py FOLDER OUT: run by test_napari.py with napari's own Python, on a virtual screen.
"""

import json
import sys
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

import hilum

PATIENCE = 300.0  # seconds


def until(done) -> None:
    """Lets napari's window live until something is so."""
    end = time.monotonic() + PATIENCE
    while not done():
        QApplication.processEvents()
        if time.monotonic() > end:
            raise TimeoutError("napari did not come to an end")


def main(folder: Path, out: Path) -> None:
    """The session."""
    image = hilum.read(folder)
    viewer = napari.Viewer(show=True)
    (layer,) = viewer.open(str(folder), plugin="hilum")
    _, panel = viewer.window.add_plugin_dock_widget("hilum", "Ask a system")
    panel.picture.value = layer
    panel.make.changed.emit(True)
    panel.system.value = "scout"
    viewer.layers["boxes"].add_rectangles(
        np.array([[5.0, 8.0, 12.0], [5.0, 8.0, 28.0], [5.0, 24.0, 28.0], [5.0, 24.0, 12.0]])
    )
    viewer.layers["inside"].add([5.0, 16.0, 20.0])
    panel.go.changed.emit(True)
    until(lambda: panel.go.enabled)
    words = panel.words.value
    found = next((each for each in viewer.layers if each.name.endswith("(model output)")), None)
    asked = hilum.load("scout").ask(image, hilum.Box((12, 8, 5), (28, 24, 5)), hilum.Points([[20, 16, 5]]))
    panel.file.value = out / "mask.nii.gz"
    panel.keep.changed.emit(True)
    viewer.window.resize(1280, 800)
    viewer.dims.set_point(0, viewer.layers["inside"].data_to_world([5.0, 16.0, 20.0])[0])
    viewer.reset_view()
    viewer.screenshot(str(out / "napari.png"), canvas_only=False, flash=False)
    panel.picture.value, panel.drawn["boxes"].value, panel.drawn["inside"].value = layer, None, None
    panel.drawn["outside"].value = panel.drawn["strokes"].value = None
    panel.names.value = "liver"
    panel.go.changed.emit(True)
    until(lambda: panel.go.enabled)
    seen = {
        "values": bool(np.array_equal(layer.data, image.array[0])),
        "affine": bool(np.array_equal(layer.affine.affine_matrix, _reversed(image.affine))),
        "units": [str(unit) for unit in layer.units],
        "words": words,
        "refused": panel.words.value,
        "mask_affine": bool(np.array_equal(found.affine.affine_matrix, layer.affine.affine_matrix)),
        "same_mask": bool(np.array_equal(found.data > 0, asked.masks.any(axis=0))),
        "voxels": int((found.data > 0).sum()),
    }
    viewer.close()
    sys.stdout.write(json.dumps(seen))


def _reversed(affine: np.ndarray) -> np.ndarray:
    """hilum's affine with its axes in napari's order, said another way than the reader says it."""
    turn = np.eye(4)[[2, 1, 0, 3]]
    return turn @ affine @ turn.T


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
