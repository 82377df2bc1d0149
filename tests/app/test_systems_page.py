"""docs/systems.md says what the cards say."""

from pathlib import Path

from hilum import registry
from hilum.app.systems_page import page

WRITTEN = Path(__file__).parents[2] / "docs" / "systems.md"


def test_the_page_is_what_the_cards_say():
    said = "write it anew: python -m hilum.app.systems_page > docs/systems.md"
    assert WRITTEN.read_text(encoding="utf-8") == page(), said


def test_every_system_is_on_it():
    assert page().count("\n### ") == len(registry.names())
