"""Lays the adaptation study's five targets out as pairs for `hilum bench adaptation --data`: <target>/images, labels.

At most --most cases of a target, chosen by their names; one picture a case (of the hippocampus the plane where it is
largest), vessels of DRIVE and CHASE_DB1 together, lungs of a film as two objects.

    python recipes/study_pairs.py --out runs/study        # reads $HILUM_DATA, default ../shared/data
"""

import argparse
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pairs
from pairs import Case
from scout_data import Only, data_root, rows

TABLES = {"nuclei": "nuclei", "breast_lesion": "ultrasound", "hippocampus": "hippocampus"}


def chosen(root: Path, target: str, most: int) -> Only:
    """Whether a file is among the `most` of its target, the order being that of a hash of their names."""
    usable = [row["file"] for row in rows(root / TABLES[target] / "metadata.csv") if row.get("label") != "normal"]
    kept = set(sorted(usable, key=lambda name: zlib.crc32(f"study {name}".encode()))[:most])
    return lambda name: name in kept


def targets(root: Path, most: int) -> dict[str, Iterator[Case]]:
    """The five, by name."""
    nuclei, breast, hippocampus = (chosen(root, name, most) for name in TABLES)
    return {
        "breast_lesion": pairs.breast_ultrasound(root, breast),
        "nuclei": pairs.nuclei(root, nuclei),
        "retina_vessels": chain(pairs.drive_vessels(root), by_child(pairs.chase_vessels(root, lambda name: True))),
        "hippocampus": pairs.hippocampus(root, hippocampus),
        "lungs": by_patient(pairs.chest_lungs(root), root),
    }


def by_child(cases: Iterator[Case]) -> Iterator[Case]:
    """CHASE_DB1 has both eyes of a child: Image_01L and Image_01R stay on one side of a split."""
    for name, picture, label in cases:
        yield f"{name[:-1]}__{name[-1]}", picture, label


def by_patient(cases: Iterator[Case], root: Path) -> Iterator[Case]:
    """Films of one patient stay on one side of a split."""
    patients = {Path(row["file"]).stem: row["patient"] for row in rows(root / "cxr/metadata.csv")}
    for name, picture, label in cases:
        yield f"{patients[name] or name}__{name}", picture, label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    parser.add_argument("--most", type=int, default=140)
    given = parser.parse_args()
    for name, cases in targets(data_root(), given.most).items():
        pairs.write(given.out / name, cases)


if __name__ == "__main__":
    main()
