"""The sizes of a SAM as kits write them, as ours; what a kit does not say keeps SAM's own number."""

from types import SimpleNamespace
from typing import Any

from hilum.parts.sam import SamConfig

THEIRS = {
    "width": "dim",
    "depth": "depth",
    "heads": "heads",
    "image_size": "img_size",
    "patch": "patch",
    "window": "window",
    "mlp_ratio": "mlp_ratio",
    "positions": "use_abs_pos",
    "channels": "pdim",
    "mask_hidden": "mask_in",
    "decoder_depth": "ddepth",
    "decoder_heads": "dheads",
    "decoder_hidden": "mlp",
    "narrowing": "attention_downsample_rate",
    "quality_hidden": "iou_hidden",
    "quality_depth": "iou_head_depth",
}


def sam_sizes(sizes: SimpleNamespace, **own: Any) -> SamConfig:
    """The config of a kit's sizes; `own` replaces what a system means otherwise."""
    there = vars(sizes)
    given = {ours: there[theirs] for ours, theirs in THEIRS.items() if theirs in there}
    if "num_multimask_outputs" in there:
        given["masks"] = there["num_multimask_outputs"] + 1
    return SamConfig(**{**given, "global_blocks": tuple(there["glob"]), **own})
