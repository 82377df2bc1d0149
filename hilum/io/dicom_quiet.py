"""DICOM libraries kept quiet: they warn and log with values of the file, which may name a patient."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

LOGGERS = ("pydicom", "highdicom", "pylibjpeg", "openjpeg", "_openjpeg", "jpeg_ls", "dicomweb_client", "urllib3")

_lock = threading.Lock()
_open_blocks = 0
_undo = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """No warning and no log line of a DICOM library leaves this block; blocks may nest and run in threads.

    `warnings.catch_warnings` restores the filters it found, so interleaved threads would undo each other: the first
    block to open silences, the last to close restores.
    """
    global _open_blocks
    with _lock:
        _open_blocks += 1
        if _open_blocks == 1:
            _silence()
    try:
        yield
    finally:
        with _lock:
            _open_blocks -= 1
            if _open_blocks == 0:
                _undo.close()


def _silence() -> None:
    _undo.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    for logger in map(logging.getLogger, LOGGERS):
        _undo.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL + 1)
