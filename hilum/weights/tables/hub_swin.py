"""The names of transformers' Swin (Liu et al. 2021) before its version 5, which renamed what is inside a block.

A file of the old names, loaded without strictness, would leave every block at random without a word; here it is this
table's, and nothing else fits.
"""

from hilum.weights.rename import Rule, Table

OLD_NAMES = Table(
    Rule(r"(\.blocks\.\d+\.attention)\.self\.query\.", r"\1.q_proj."),
    Rule(r"(\.blocks\.\d+\.attention)\.self\.key\.", r"\1.k_proj."),
    Rule(r"(\.blocks\.\d+\.attention)\.self\.value\.", r"\1.v_proj."),
    Rule(
        r"(\.blocks\.\d+\.attention)\.self\.relative_position_bias_table",
        r"\1.relative_position_bias.relative_position_bias_table",
    ),
    Rule(r"(\.blocks\.\d+\.attention)\.output\.dense\.", r"\1.o_proj."),
    Rule(r"(\.blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    Rule(r"(\.blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)
