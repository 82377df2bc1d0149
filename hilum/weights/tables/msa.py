"""Medical SAM Adapter's names, of both published versions: SAM's, and those of its adapters and LoRA.

The version of 2024 calls the tables of relative positions and the decoder's MLP otherwise than SAM does.
"""

from hilum.weights.rename import Rule, Table
from hilum.weights.tables.sam import UPSTREAM

ADAPTERS = Table(
    Rule(r"(blocks\.\d+)\.Space_Adapter\.D_fc1", r"\1.attend.after.inner.down"),
    Rule(r"(blocks\.\d+)\.Space_Adapter\.D_fc2", r"\1.attend.after.inner.up"),
    Rule(r"(blocks\.\d+)\.Depth_Adapter\.D_fc1", r"\1.attend.after_depth.down"),
    Rule(r"(blocks\.\d+)\.Depth_Adapter\.D_fc2", r"\1.attend.after_depth.up"),
    Rule(r"(blocks\.\d+)\.MLP_Adapter\.D_fc1", r"\1.transform.beside.down"),
    Rule(r"(blocks\.\d+)\.MLP_Adapter\.D_fc2", r"\1.transform.beside.up"),
)
LORA = Table(  # in upstream's own tree, which UPSTREAM then renames
    Rule(r"(blocks\.\d+\.attn\.qkv|blocks\.\d+\.mlp\.lin\d)\.lora_A", r"\1.down"),
    Rule(r"(blocks\.\d+\.attn\.qkv|blocks\.\d+\.mlp\.lin\d)\.lora_B", r"\1.up"),
)
VERSION_2024 = Table(
    Rule(r"(blocks\.\d+)\.attn\.rel_h$", r"\1.attend.attention.relative.part.rows"),
    Rule(r"(blocks\.\d+)\.attn\.rel_w$", r"\1.attend.attention.relative.part.columns"),
    Rule(r"(transformer\.layers\.\d+)\.mlp\.layers\.0\.0\.", r"\1.mlp.part.layers.0."),
    Rule(r"(transformer\.layers\.\d+)\.mlp\.fc\.", r"\1.mlp.part.layers.1."),
)
MSA = Table(ADAPTERS, LORA, VERSION_2024, UPSTREAM)
