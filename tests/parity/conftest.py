"""Kits: numbers made by the upstream repositories' own code, handed to the tests that claim them."""

import pytest
from parity.kit import found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `kit` runs once for each kit of the families that its module names in `KITS`."""
    if "kit" in metafunc.fixturenames:
        kits = found(metafunc.module.KITS)
        metafunc.parametrize("kit", kits, ids=[kit.name for kit in kits], scope="module")
