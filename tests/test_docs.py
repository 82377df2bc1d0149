"""What README and docs show is what happens: every fenced `hilum` line is run, every link leads somewhere.

Lines run in one folder that holds small stand-ins of the files they name, with scout's shipped weights, in process.
"""

import re
import shlex
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dicomweb_server import serving
from hilum.app.new_system import texts
from plugged import lay, plugged

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = {
    "pull": "opens a socket",
    "mcp": "speaks with an agent until that ends; tests/app/mcp has it",
    "import": "wants a published file of 375 MB",
    "check": "runs on all demo pairs; tests/bench has it",
    "verify": "wants weights that a user brought",
    "merge": "wants adapters; tests/app/test_adapt.py has it",
    "adaptation": "takes hours; tests/bench/test_adaptation.py has it",
    "serve": "runs until it is stopped; tests/app/server/test_serve.py has it",
    "open": "runs until it is stopped; tests/app/server/test_serve.py has it",
    "my_adapter/": "wants an adapter; tests/app/test_adapt.py has it",
    "index/": "wants an index; tests/app/test_find.py has it",
    "head/": "wants a probe; tests/app/test_probe.py has it",
}
QUICK = {"adapt": ["--steps", "1", "--batch", "1", "--method", "head", "--force"]}


def lines() -> list[tuple[str, str]]:
    """(page, command) of every line in a fence that begins with `hilum `."""
    found = []
    for page in PAGES:
        for fence in re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            for line in fence.splitlines():
                for part in re.split(r"\s{3,}", line.removeprefix("$ ").split("  #")[0].strip()):
                    if part.startswith("hilum "):
                        found.append((page.name, part))
    return found


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Iterator[Path]:
    """A folder with a NIfTI scan, a DICOM series, pictures and labelled pairs, as the pages name them."""
    import nibabel
    from PIL import Image

    from phantoms import ct_series

    folder = tmp_path_factory.mktemp("desk")
    z, y, x = np.ogrid[:24, :110, :120]
    ball = (x - 60) ** 2 + (y - 70) ** 2 + 9 * (z - 18) ** 2 < 20**2
    volume = (ball * 200 + np.random.default_rng(0).integers(0, 30, ball.shape)).astype(np.int16)
    scan = nibabel.Nifti1Image(volume.transpose(2, 1, 0), np.diag([-1.0, -1.0, 3.0, 1.0]))
    scan.header.set_xyzt_units("mm")
    nibabel.save(scan, folder / "scan.nii.gz")
    ct_series(folder / "ct_folder")
    for name in ("photo.png", "film.png"):
        Image.fromarray((ball[18] * 200).astype(np.uint8)).resize((256, 256)).save(folder / name)
    (folder / "photos").mkdir()
    Image.fromarray((ball[18] * 200).astype(np.uint8)).save(folder / "photos" / "1.png")
    for kind, scale in (("images", 200), ("labels", 1)):
        (folder / "pairs" / "balls" / kind).mkdir(parents=True)
        for case in range(2):
            Image.fromarray((np.roll(ball[18], 5 * case, 1) * scale).astype(np.uint8)).save(
                folder / "pairs" / "balls" / kind / f"{case}.png"
            )
    (folder / "my_cases").symlink_to(folder / "pairs", target_is_directory=True)
    for name in ("ill", "well"):
        (folder / "classes" / name).mkdir(parents=True)
    lay(folder / "site", "bright_region", texts("bright_region"))
    _films(folder)
    page = (ROOT / "docs" / "run.md").read_text(encoding="utf-8")
    (folder / "jobs.csv").write_text(re.findall(r"^```csv\n(.*?)^```", page, re.M | re.S)[0])
    _matcher(folder / "weights")
    ct_series(folder / "pacs", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4")
    with serving(folder / "pacs") as archive:
        (folder / "pacs_host").write_text(archive.host)
        yield folder


def _films(folder: Path) -> None:
    """A table of 40 films of 20 patients, one of 12 others, and labels with texts."""
    from PIL import Image

    (folder / "films").mkdir()
    lines = ["file,pneumonia,effusion,patient,view,sex,age,text"]
    for number, noise in enumerate(np.random.default_rng(1).integers(0, 256, (40, 32, 32), dtype=np.uint8)):
        Image.fromarray(noise).save(folder / "films" / f"{number:03}.png")
        truth = f"{number % 2},{int(number % 3 == 0)}"
        groups = f"{number // 2},{('PA', 'AP')[number % 2]},{'FM'[number // 2 % 2]},{40 + number}"
        lines.append(f"films/{number:03}.png,{truth},{groups},film {number} of pneumonia")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    (folder / "others").mkdir()
    others = ["file,pneumonia,effusion"]
    for number, noise in enumerate(np.random.default_rng(2).integers(0, 256, (12, 32, 32), dtype=np.uint8)):
        Image.fromarray(noise).save(folder / "others" / f"{number}.png")
        others.append(f"others/{number}.png,{number % 2},{int(number % 3 == 0)}")
    (folder / "others.csv").write_text("\n".join(others) + "\n")
    classes = [
        f"films/{number:03}.png,{('ill', 'well')[number % 2]},{('PA', 'AP')[number // 2 % 2]}" for number in range(40)
    ]
    (folder / "classes.csv").write_text("\n".join(["file,labels,view", *classes]) + "\n")
    page = (ROOT / "docs" / "labels.md").read_text(encoding="utf-8")
    (folder / "findings.json").write_text(re.findall(r"^```json\n(.*?)^```", page, re.M | re.S)[0])


def _matcher(weights: Path) -> None:
    """BiomedCLIP's tiny instance, as if it had been imported into this folder of weights."""
    from safetensors.torch import save_file

    from hilum.systems.biomedclip import BiomedClip
    from hilum.weights import store
    from hilum.weights.tensor_file import sha256

    place = weights / "biomedclip.vit_b_16"
    place.mkdir(parents=True)
    state = BiomedClip.table.inverse(BiomedClip.tiny().network.state_dict())
    save_file({name: each.contiguous() for name, each in state.items()}, place / store.MODEL)
    kept = sha256(place / store.MODEL), (place / store.MODEL).stat().st_size
    record = store.Record("biomedclip", "vit_b_16", "tiny", "", *kept, len(state), "MIT", "tests", "")
    (place / store.RECORD).write_text(record.text())


@pytest.fixture
def _small(desk, monkeypatch):
    """The weights of the desk, and BiomedCLIP at the size that they have."""
    from hilum.systems.biomedclip import BiomedClip

    monkeypatch.setenv("HILUM_WEIGHTS", str(desk / "weights"))
    monkeypatch.setattr(BiomedClip, "configs", {**BiomedClip.configs, "vit_b_16": BiomedClip.tiny().config})


def test_pages_have_commands_to_run():
    assert len(lines()) >= 10


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(("page", "command"), list(dict.fromkeys(lines())), ids=lambda value: value[:70])
def test_command_on_a_page_works(page, command, desk, monkeypatch):
    """In the order of the page, since some commands go on with what one before them wrote."""
    from hilum.app.cli import app
    from hilum.weights import store

    words = shlex.split(command.replace("127.0.0.1:8042", (desk / "pacs_host").read_text()))[1:]
    for word, reason in NOT_RUN.items():
        if word in words[:2]:
            pytest.skip(reason)
    if "runs/study" in words:
        pytest.skip("wants the data beside the repository, laid out by recipes/study_pairs.py")
    monkeypatch.chdir(desk)
    forced = (
        ["--force"] if words[:2] == ["bench", "frequency"] or (words[0] in ("ask", "embed") and "-o" in words) else []
    )
    matched = (
        ["--backend", "torch"] if any("biomedclip" in word for word in words[1:3]) or "films_index/" in words else []
    )
    added = plugged(desk / "site") if "bright_region" in words[1:] and words[0] != "new-system" else nullcontext()
    with added:
        done = CliRunner().invoke(app, [*words, *forced, *QUICK.get(words[0], []), *matched])
    wanted = next(
        (word for word in ("sam_study", "medsam", "retfound", "biomedclip", "plip") if word in words[1:2]), None
    )
    if wanted and words[0] in ("ask", "embed", "probe") and done.exit_code == 1:
        assert "hilum weights" in done.output, "absent weights must say how to get them"
        return
    assert done.exit_code == 0, f"{page}: {command}\n{done.output}\n{done.exception}"
    assert store.folder()


def test_links_lead_to_files():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_files_on_the_page_of_systems_are_those_that_are_written():
    page = (ROOT / "docs" / "add-a-system.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```(?:toml|python)\n(.*?)^```", page, re.M | re.S)
    written = texts("bright_region")
    assert shown == [written[name] for name in ("pyproject.toml", "bright_region.toml", "bright_region.py")]
