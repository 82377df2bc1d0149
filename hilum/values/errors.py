"""Errors are sentences: what was given, what is wanted, what to do. The exit code says whose turn it is."""

from __future__ import annotations


class HilumError(Exception):
    """An error whose text is written for the user; the app prints it without a traceback."""

    exit_code = 1


class BadInput(HilumError, ValueError):
    """The input, the prompt or the usage is wrong: the user can mend it."""

    exit_code = 2


class UnsupportedPrompt(BadInput):
    """A prompt that the system does not take. The app completes the sentence from the registry."""

    def __init__(self, system: str, given: str, takes: tuple[str, ...]):
        self.system, self.given, self.takes = system, given, takes
        super().__init__(f"{system} takes {', '.join(takes) or 'no prompt'}, got {given}.")


class UnknownSystem(BadInput):
    """No card has this name."""


class Failed(HilumError, RuntimeError):
    """Something failed that the user did not cause."""


class WeightsUnavailable(Failed):
    """The weights are not on this machine; the sentence names the command that gets them."""


class MissingExtra(Failed):
    """A library of an optional extra is not installed."""

    def __init__(self, need: str, package: str, extra: str):
        super().__init__(f"{need} needs the package {package}, which is not installed: pip install 'hilum[{extra}]'")


class TooLarge(BadInput):
    """The work would pass a stated limit; the sentence has both numbers and the flag."""
