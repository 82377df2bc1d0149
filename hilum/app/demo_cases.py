"""The demo's pictures: real ones, inside packages that are installed anyway, each with a sensible prompt.

They are found without importing the packages, which would take seconds. Prompts are command-line words: what the demo
does is what `hilum ask` would do with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .command import Said


@dataclass(frozen=True, slots=True)
class Case:
    """A picture in a package, what is asked about it, and the file its mask goes to."""

    title: str
    package: str
    path: str
    prompts: Said
    mask: str
    modality: str | None = None

    def file(self) -> Path | None:
        """Where it lies; None where the package, or the file in it, is not there."""
        found = find_spec(self.package)
        if found is None or found.origin is None:
            return None
        path = Path(found.origin).parent / self.path
        return path if path.is_file() else None


CASES = (
    Case(
        "abdomen, MR (DICOM)",
        "pydicom",
        "data/test_files/examples_overlay.dcm",
        (
            ("--box", "right kidney=118,189:184,249"),
            ("--box", "left kidney=290,199:348,251"),
            ("--box", "spleen=358,118:401,236"),
            ("--box", "aorta=241,153:268,182"),
        ),
        "abdomen_mask.dcm",
    ),
    Case(
        "head, CT, oblique (DICOM, JPEG 2000)",
        "pydicom",
        "data/test_files/J2K_pixelrep_mismatch.dcm",
        (
            ("--box", "frontal lobe=227,82:291,172"),
            ("--box", "temporal lobe=126,160:228,262"),
            ("--box", "posterior fossa=136,235:376,400"),
        ),
        "head_mask.dcm",
    ),
    Case(
        "brain, MR template (NIfTI, a volume)",
        "nilearn",
        "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
        (("--box", "left ventricle=74,92,88:97,150,101"), ("--box", "right ventricle=99,92,88:122,150,101")),
        "brain_mask.nii.gz",
        "MR",
    ),
    Case(
        "retina, photograph (JPEG)",
        "skimage",
        "data/retina.jpg",
        (("--box", "vessels=60,60:1350,1350"),),
        "retina_mask.png",
        "OP",
    ),
    Case(
        "a cell, microscope (PNG)",
        "skimage",
        "data/cell.png",
        (("--point", "cell=428,373"),),
        "cell_mask.png",
        "GM",
    ),
    Case(
        "colon, stained section (PNG)",
        "skimage",
        "data/ihc.png",
        (("--box", "gland=252,300:386,508"),),
        "gland_mask.png",
        "SM",
    ),
)
