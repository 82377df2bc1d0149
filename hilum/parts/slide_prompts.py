"""Prompts for slides: a class has several names, a name several sentences, and what is drawn of both moves the result.

The published study draws names and sentences fifty times and reports the median of the balanced accuracies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hilum.values.prompts import Labels

TEMPLATES = (  # those of MI-Zero's sixteen that are known here
    "{}.",
    "a photomicrograph showing {}.",
    "a histopathological image of {}.",
    "{} is present.",
)


def draws(
    pools: Mapping[str, Sequence[str]], *, count: int = 50, templates: Sequence[str] = TEMPLATES, seed: int = 0
) -> Iterator[Labels]:
    """`count` times one name of each class, in a random share of the templates."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        chosen = rng.permutation(len(templates))[: int(rng.integers(1, len(templates), endpoint=True))]
        names = [pool[int(rng.integers(len(pool)))] for pool in pools.values()]
        said = tuple(tuple(templates[place].replace("{}", name) for place in sorted(chosen)) for name in names)
        yield Labels(tuple(pools), texts=said)
