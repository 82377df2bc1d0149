"""Labels that do not exclude each other, some of them unknown."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def multi_label(logits: Float[Tensor, "b classes"], labels: Float[Tensor, "b classes"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of each class by itself; a label that is not known is nan and counts for nothing."""
    known = ~labels.isnan()
    return F.binary_cross_entropy_with_logits(logits[known], labels[known])
