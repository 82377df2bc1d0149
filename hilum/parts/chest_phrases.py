"""Phrases for five findings on chest films: how severe, what kind, where. The form is MedCLIP's, the words are ours."""

from __future__ import annotations

from itertools import product

import numpy as np

Phrases = tuple[str, ...]
BASES = ("at the left base", "at the right base", "at both lung bases")
FIELDS = ("in the left lung", "in the right lung", "in both lungs")

GRIDS: dict[str, tuple[Phrases, Phrases, Phrases]] = {  # finding: severities, kinds, places
    "atelectasis": (
        ("", "slight", "marked"),
        ("atelectasis", "platelike atelectasis", "lobar atelectasis", "volume loss from atelectasis"),
        (*BASES, "behind the heart"),
    ),
    "cardiomegaly": (
        ("", "mild", "moderate", "severe"),
        ("cardiomegaly", "enlargement of the heart", "widening of the cardiac silhouette"),
        ("", "with a prominent left ventricle"),
    ),
    "consolidation": (
        ("", "patchy", "dense"),
        ("consolidation", "airspace consolidation", "consolidation with air bronchograms"),
        (*FIELDS, "in a lower lobe"),
    ),
    "edema": (
        ("mild", "moderate", "severe"),
        ("pulmonary edema", "interstitial edema", "alveolar edema"),
        ("", "in both lungs", "with septal lines"),
    ),
    "pleural effusion": (
        ("small", "moderate", "large"),
        ("pleural effusion", "layering pleural effusion", "collection of pleural fluid"),
        ("on the left", "on the right", "on both sides"),
    ),
}


def drawn(finding: str, count: int) -> Phrases:
    """`count` phrases of a finding's grid, always the same ones; of a finding without a grid its name alone."""
    grid = GRIDS.get(finding.lower())
    if grid is None:
        return (finding,)
    phrases = [" ".join(filter(None, parts)) for parts in product(*grid)]
    chosen = np.random.default_rng(0).choice(len(phrases), size=min(count, len(phrases)), replace=False)
    return tuple(phrases[place] for place in sorted(chosen))
