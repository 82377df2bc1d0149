"""Systems as the server knows them: which are there, why not, and the loaded ones, kept while they are used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ... import registry
from ...values.errors import HilumError, UnknownSystem
from .settings import Settings

if TYPE_CHECKING:
    from ...capabilities.system import System
    from ...values.card import Card

SHOWN = (
    *("name", "title", "summary", "family", "algorithm", "citation", "year", "status", "capabilities", "accepts"),
    *("returns", "modalities", "organs", "tasks", "default", "notes", "deviations"),
)


class Systems:
    """Names in, loaded systems out. A name is one of the registry's: never the path of a folder."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._loaded: OrderedDict[str, System] = OrderedDict()
        self._turn = threading.Lock()

    def card(self, name: str) -> Card:
        """The card of a system that a client named, with or without a tag."""
        self._known(name)
        return registry.card(name)

    def get(self, name: str) -> System:
        """The system with its weights, loaded once; what is not on this machine is said with the way to get it."""
        self._known(name)
        with self._turn:
            if name not in self._loaded:
                from ..cost import refuse

                registry.weights_of(name)
                refuse(name, self.settings.backend, None)
                self._loaded[name] = registry.load(name, device=self.settings.device, backend=self.settings.backend)
            self._loaded.move_to_end(name)
            while len(self._loaded) > self.settings.caps.systems:
                self._loaded.popitem(last=False)
            return self._loaded[name]

    def loaded(self) -> list[str]:
        """Names of those at hand."""
        return list(self._loaded)

    def all(self) -> list[dict[str, Any]]:
        """Every card, with what is there of it."""
        return [self.facts(name) for name in registry.names()]

    def facts(self, name: str) -> dict[str, Any]:
        """A card as plain types, the tags that are there, and where there is none, the sentence that says why."""
        from ...weights import store

        card = self.card(name)
        told = asdict(card)
        facts: dict[str, Any] = {key: told[key] for key in SHOWN}
        facts["weights"] = list(store.available(card))
        try:
            registry.weights_of(name)
            facts |= {"here": True, "reason": None}
        except HilumError as error:
            facts |= {"here": False, "reason": str(error)}
        return facts

    def _known(self, name: str) -> None:
        if not registry.knows(name):
            raise UnknownSystem("no system of this name is registered here; GET /api/systems lists all.")
