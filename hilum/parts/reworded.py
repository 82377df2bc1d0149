"""Texts said a little otherwise for training: two words change places, or some are left out (Wei and Zou 2019)."""

from __future__ import annotations

import numpy as np

SHARE = 0.1  # of a text's words that are moved or left out (ibid., sec. 3)


def reworded(text: str, rng: np.random.Generator) -> str:
    """The text with words exchanged or left out; one word alone stays."""
    words = text.split()
    if len(words) < 2:
        return text
    if rng.random() < 0.5:
        kept = [word for word in words if rng.random() >= SHARE]
        return " ".join(kept or [words[int(rng.integers(len(words)))]])
    for _ in range(max(1, int(SHARE * len(words)))):
        one, other = rng.choice(len(words), size=2, replace=False)
        words[one], words[other] = words[other], words[one]
    return " ".join(words)
