"""The napari plug-in: a reader that keeps geometry, and a widget that asks systems about what is open."""
