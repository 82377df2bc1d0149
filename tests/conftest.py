"""Fixtures that all storeys share; thread counts are kept small so that tests can run side by side."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from conftest_contract import tiny  # noqa: F401


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's weights or caches."""
    home = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("HILUM_WEIGHTS", str(home / "weights"))
    monkeypatch.setenv("HILUM_CACHE", str(home / "cache"))
