"""What five labelled cases are worth: a system adapted to them, and held against itself on thirty that it did not see.

Lungs on chest films (PNG, a source that scout's and medsam.pocket's training never saw) and hippocampi (NIfTI volumes:
of a kind that scout knows and medsam.pocket does not).
The table goes into docs/adapting.md between its marks.

    python recipes/five_cases.py        # reads $HILUM_DATA, default ../shared/data; a few minutes
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pairs as layout
from scout_data import data_root, held_back, rows

from hilum import registry
from hilum.adapt.adaptation import Wish, adapt
from hilum.adapt.methods import RATES
from hilum.bench.measure import interval
from hilum.train.loop import Plan
from hilum.train.pairs import pairs
from hilum.train.samples import read_cases
from hilum.train.score import scored

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/adapting.md"
MARKS = ("<!-- five cases -->", "<!-- end -->")
KNOWN, UNSEEN = 5, 30
HEAD = "| system | cases | method | minutes | as it ships | adapted to five cases | gain, 95 % interval over cases |"
BASES = ("scout", "medsam.pocket")


def lungs(root: Path, out: Path) -> None:
    """Chest films with both lungs, five to adapt to and thirty to test on."""
    cases = layout.chest_lungs(root)
    layout.write(out / "adapt", itertools.islice(cases, KNOWN))
    layout.write(out / "test", itertools.islice(cases, UNSEEN))


def hippocampi(root: Path, out: Path) -> None:
    """Volumes as they are, both parts labelled."""
    archive = zipfile.ZipFile(root / "hippocampus/hippocampus.zip")
    names = [row["file"] for row in rows(root / "hippocampus/metadata.csv") if held_back(row["file"])]
    others = [row["file"] for row in rows(root / "hippocampus/metadata.csv") if not held_back(row["file"])]
    chosen = [*names, *others][: KNOWN + UNSEEN]
    for place, name in enumerate(chosen):
        for kind in ("images", "labels"):
            folder = out / ("adapt" if place < KNOWN else "test") / kind
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(archive.read(f"{kind}/{name}"))


def dice(name: str, folder: Path) -> dict[str, float]:
    """Mean Dice by box of each case."""
    system = registry.load(name, backend="torch", device="cpu")
    return {case.name: float(np.mean(scored(system, case.samples[:4]))) for case in read_cases(pairs(folder))}


def line(base: str, kind: str, method: str, out: Path) -> str:
    """One row of the table: adapted now, measured now."""
    adapter = out / f"adapter-{base}-{method}"
    shutil.rmtree(adapter, ignore_errors=True)
    began = time.monotonic()
    wish = Wish(out / "adapt", method, plan=Plan(rate=RATES[method], minutes=8.0))
    adapt(registry.load(base, backend="torch", device="cpu"), wish, adapter)
    minutes = (time.monotonic() - began) / 60
    before, after = dice(base, out / "test"), dice(str(adapter), out / "test")
    gains = np.array([after[case] - before[case] for case in before])
    low, high = interval(gains, np.arange(len(gains)))
    means = [float(np.mean(list(each.values()))) for each in (before, after)]
    numbers = f"{minutes:.1f} | {means[0]:.3f} | {means[1]:.3f} | {gains.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"| {base} | {kind}, {len(gains)} unseen | {method} | {numbers} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs/five_cases")
    parser.add_argument("--bases", nargs="+", default=BASES)
    parser.add_argument("--methods", nargs="+", default=["head", "lora"])
    given = parser.parse_args()
    head, rest = PAGE.read_text(encoding="utf-8").split(MARKS[0] + "\n")
    table, tail = rest.split(MARKS[1] + "\n")
    others = tuple(f"| {base} |" for base in BASES if base not in given.bases)
    kept = [row for row in table.splitlines() if row.startswith(others)] if others else []
    lines = [HEAD, "|---|---|---|---|---|---|---|", *kept]
    kinds = (("lungs on chest films, PNG", lungs), ("hippocampi, NIfTI", hippocampi))
    for base, (kind, make), method in itertools.product(given.bases, kinds, given.methods):
        folder = given.out / make.__name__
        if not folder.exists():
            make(data_root(), folder)
        lines.append(line(base, kind, method, folder))
        print(lines[-1], flush=True)
    PAGE.write_text("\n".join([head + MARKS[0], *lines, MARKS[1], tail]), encoding="utf-8")


if __name__ == "__main__":
    main()
