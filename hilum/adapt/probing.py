"""A probe: multinomial logistic regression on a frozen encoder's standardised vectors, with a ridge, by L-BFGS
(El Banani et al. 2023 take the same); written as an adapter, so that `hilum ask head/ picture` answers with classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from ..capabilities.adapted import PROBE
from ..capabilities.match import Probe
from ..capabilities.system import System
from ..io.atomic import replacing
from ..values.errors import BadInput
from ..weights import adapter


def classes_under(folder: Path) -> dict[str, Path]:
    """Folders of pictures by the name of their class."""
    if not folder.is_dir():
        raise BadInput(f"no such folder: {folder}")
    found = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    if len(found) < 2:
        raise BadInput(f"{folder} should hold a folder of pictures for each class, at least two; it holds {len(found)}")
    return found


def fit(
    vectors: Float[np.ndarray, "n dim"], labels: Int[np.ndarray, " n"], names: tuple[str, ...], *, ridge: float = 1e-2
) -> Probe:
    """The probe of these cases; `ridge` is per case, on standardised vectors."""
    mean, deviation = vectors.mean(0), vectors.std(0) + 1e-6
    known, wanted = (vectors - mean) / deviation, np.eye(len(names))[labels]
    dim, classes = known.shape[1], len(names)

    def objective(flat: Float[np.ndarray, " _"]) -> tuple[float, Float[np.ndarray, " _"]]:
        weights, bias = flat[:-classes].reshape(dim, classes), flat[-classes:]
        logits = known @ weights + bias
        error = (softmax(logits, axis=1) - wanted) / len(known)
        loss = -(log_softmax(logits, axis=1) * wanted).sum() / len(known) + ridge / 2 * float((weights**2).sum())
        return loss, np.concatenate([(known.T @ error + ridge * weights).ravel(), error.sum(0)])

    found = minimize(objective, np.zeros((dim + 1) * classes), jac=True, method="L-BFGS-B").x
    return Probe(names, found[:-classes].reshape(dim, classes), found[-classes:], mean, deviation)


def check_target(out: Path, *, force: bool) -> None:
    """Refuses, before any work is done, a folder that the probe could not be written to."""
    if out.is_file():
        raise BadInput(f"{out} is a file: -o names a folder")
    if (out / adapter.CONFIG).is_file() and not force:
        raise BadInput(f"{out} holds an adapter already: give another folder, or --force")


def write(probe: Probe, system: System, out: Path, trained: Mapping[str, Any]) -> None:
    """The folder that `load` reads; the tensors first, so that it is an adapter once its config is there."""
    from importlib.metadata import version

    from safetensors.numpy import save_file

    name, _, tag = system.tag.partition(".")
    told = adapter.Adapter(
        name, tag, system.weights_sha256 or "", PROBE, names=probe.names, version=version("hilum"), trained=trained
    )
    values = {each: np.ascontiguousarray(getattr(probe, each)) for each in ("weight", "bias", "mean", "deviation")}
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / adapter.TENSORS, force=True) as temporary:
        save_file(values, temporary)
    with replacing(out / adapter.CONFIG, force=True) as temporary:
        temporary.write_text(told.text(), encoding="utf-8")
