"""Imports only go down, and the quick floors stay quick."""

import subprocess
import sys

import pytest


def test_import_contract_holds():
    import os
    from pathlib import Path

    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["hilum", "hilum.values.image", "hilum.registry", "hilum.io.read", "hilum.app.cli"])
def test_quick_floors_import_no_torch(module):
    heavy = {"torch", "transformers", "monai", "openvino"}
    program = f"import sys, {module}; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_public_name_is_there():
    import hilum

    for name in hilum.__all__:
        assert getattr(hilum, name) is not None
    with pytest.raises(AttributeError, match="hilum has no 'nothing'"):
        _ = hilum.nothing
