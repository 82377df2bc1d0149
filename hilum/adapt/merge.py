"""Adapters of several sites as one, without their images (FedAvg, McMahan et al. 2017, algorithm 1).

Whole tensors are averaged, each site's weighed by its share of the cases. Low-rank pairs are not averaged factor by
factor, which would be another matrix: they are stacked, so the merged product is the weighted mean of the products,
exactly, and the ranks add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..io.atomic import replacing
from ..values.errors import BadInput
from ..weights import adapter
from ..weights.adapter import DOWN, UP, Adapter


def merge(folders: Sequence[Path], shares: Sequence[float], out: Path, *, force: bool = False) -> Adapter:
    """Writes the merged adapter; sites must have adapted the same weights by the same method."""
    if len(folders) < 2:
        raise BadInput("merging wants at least two adapters: hilum adapt merge site_a/ site_b/ -o all/")
    if len(shares) != len(folders) or min(shares) <= 0:
        raise BadInput(f"--weights wants one number above 0 for each of {len(folders)} adapters, got {list(shares)}")
    told = [adapter.read(folder) for folder in folders]
    _alike(folders, told)
    if adapter.is_adapter(out) and not force:
        raise BadInput(f"{out} holds an adapter already: give another folder, or --force")
    weights = [share / sum(shares) for share in shares]
    merged = averaged([adapter.tensors(folder) for folder in folders], weights)
    sites = [
        {"folder": folder.name, "share": round(weight, 6), "trained": one.trained}
        for folder, weight, one in zip(folders, weights, told, strict=True)
    ]
    result = replace(told[0], trained={"merged": sites})
    _write(result, merged, out)
    return result


def averaged(sites: Sequence[dict[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """The weighted mean of what the sites changed."""
    names = set(sites[0])
    for place, site in enumerate(sites[1:], 2):
        if set(site) != names:
            strange = sorted(names ^ set(site))[0]
            raise BadInput(f"adapter {place} changed other tensors than the first, such as {strange}")
    merged = {}
    for name in sorted(names):
        parts = [site[name].float() for site in sites]
        if name.endswith(DOWN):
            merged[name] = torch.cat(parts, 0)
        elif name.endswith(UP):
            merged[name] = torch.cat([weight * part for weight, part in zip(weights, parts, strict=True)], 1)
        else:
            merged[name] = sum(weight * part for weight, part in zip(weights, parts, strict=True))  # type: ignore[assignment]
    return merged


def _alike(folders: Sequence[Path], told: Sequence[Adapter]) -> None:
    first = told[0]
    for folder, one in zip(folders[1:], told[1:], strict=True):
        for field in ("system", "weights", "weights_sha256", "method", "scale", "branch", "hidden"):
            if getattr(one, field) != getattr(first, field):
                raise BadInput(
                    f"{folder} differs from {folders[0]} in {field.replace('_', ' ')} "
                    f"({getattr(one, field)} against {getattr(first, field)}): only adapters of one base are merged"
                )


def _write(result: Adapter, merged: dict[str, Tensor], out: Path) -> None:
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / adapter.TENSORS, force=True) as temporary:
        save_file({name: each.contiguous() for name, each in merged.items()}, temporary)
    with replacing(out / adapter.CONFIG, force=True) as temporary:
        temporary.write_text(result.text(), encoding="utf-8")
