"""The widget: choose an image, a system and the layers in which something was drawn; the answer comes as layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui import widgets

from ...values.notice import SENTENCE
from .asking import Asking, choices, shown, worded
from .layers import axes, on_layer, placed
from .said import image_of, prompts

if TYPE_CHECKING:
    from napari.viewer import Viewer

DRAWN = {  # what is drawn in, and the kind of layer for it
    "inside": ("points inside", "Points"),
    "outside": ("points outside", "Points"),
    "boxes": ("boxes", "Shapes"),
    "strokes": ("strokes", "Labels"),
}
FILES = "*.nii.gz *.dcm *.nrrd *.png *.json"


class Ask(widgets.Container):
    """The widget of one viewer; the asking itself goes on in a thread."""

    def __init__(self, napari_viewer: Viewer):
        from napari import layers

        self.viewer, self.asking, self.answer = napari_viewer, Asking(), None
        self.picture = widgets.create_widget(annotation=layers.Image, label="image")
        self.system = widgets.ComboBox(label="system", choices=choices())
        self.drawn = {
            key: widgets.create_widget(annotation=getattr(layers, kind) | None, label=label)
            for key, (label, kind) in DRAWN.items()
        }
        self.names = widgets.LineEdit(label="labels", tooltip="liver, spleen: for systems that know names")
        self.make = widgets.PushButton(text="layers to draw in")
        self.go = widgets.PushButton(text="ask")
        self.file = widgets.FileEdit(label="save to", mode="w", filter=FILES)
        self.keep = widgets.PushButton(text="save the answer", enabled=False)
        self.words = widgets.TextEdit(value=SENTENCE)
        self.words.read_only = True
        parts = [self.picture, self.system, *self.drawn.values(), self.names, self.make, self.go, self.file, self.keep]
        super().__init__(widgets=[*parts, self.words])
        self.make.changed.connect(self.make_layers)
        self.go.changed.connect(self.ask)
        self.keep.changed.connect(self.save)

    def make_layers(self) -> None:
        """Empty layers on the image's grid, chosen as what is drawn in: 1 is inside, 2 outside among the strokes."""
        try:
            image = image_of(self.picture.value)
        except Exception as error:
            self.tell(worded(error))
            return
        where, count = placed(image), axes(image)
        self.drawn["inside"].value = self.viewer.add_points(ndim=count, name="inside", face_color="lime", **where)
        self.drawn["outside"].value = self.viewer.add_points(ndim=count, name="outside", face_color="red", **where)
        self.drawn["boxes"].value = self.viewer.add_shapes(ndim=count, name="boxes", face_color="transparent", **where)
        grid = on_layer(image, np.zeros(image.grid, dtype=np.uint8))
        self.drawn["strokes"].value = self.viewer.add_labels(grid, name="strokes", **where)

    def ask(self) -> Any:
        """Asks in a thread; the window stays alive."""
        from napari.qt.threading import create_worker

        try:
            layer = self.picture.value
            drawn = {key: widget.value for key, widget in self.drawn.items()}
            image, said = image_of(layer), prompts(layer, **drawn, labels=self.names.value)
        except Exception as error:
            return self.tell(worded(error))
        self.go.enabled = False
        self.tell("asking …")
        return create_worker(
            self.asking.tried,
            image,
            said,
            self.system.value,
            _connect={"returned": self.show, "finished": self.rest},
        )

    def show(self, came: tuple[Any, str]) -> None:
        """Adds the answer's layers, or says why there is none; a new answer of the same name replaces the old one."""
        answer, wrong = came
        if answer is None:
            return self.tell(wrong)
        found, words = shown(answer)
        self.answer = answer
        for data, told, kind in found:
            if told["name"] in self.viewer.layers:
                self.viewer.layers.remove(told["name"])
            getattr(self.viewer, f"add_{kind}")(data, **told)
        self.keep.enabled = True
        self.tell(words)

    def rest(self) -> None:
        """Ready for the next question."""
        self.go.enabled = True

    def save(self) -> None:
        """Writes the last answer by the suffix of the file's name; a file that is there stays."""
        from ...io.write import write

        try:
            written = write(self.answer, Path(self.file.value))  # type: ignore[arg-type]
            self.tell(f"{self.words.value}\nsaved: {written.name}")
        except Exception as error:
            self.tell(worded(error))

    def tell(self, words: str) -> None:
        """Shows words in the widget."""
        self.words.value = words
