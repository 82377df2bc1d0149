"""SAMed's names, to ours.

`SAMED` leads from the published file completed by SAM's: the file's own names (`w_a_000`, `prompt_encoder.…`,
`mask_decoder.…`), and under `sam.` what is SAM's. `WRAPPED` leads from the whole network in its training code's names.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hilum.weights.rename import Rule, Step, Table, Tensors
from hilum.weights.tables.sam import UPSTREAM

SAMS = "sam."  # before the names of what the file leaves to SAM's
PARTS = ("query", "value")


@dataclass(frozen=True, slots=True)
class Numbered:
    """`stem000`, `stem001`, … are the updates of the layers in order, two for each: query, then value.

    `place` is where they are with us, {layer} and {part} left open.
    """

    stem: str
    place: str

    def apply(self, tensors: Tensors) -> dict[str, Any]:
        return renamed(tensors, rf"{self.stem}(\d+)", lambda number: self._placed(int(number)))

    def inverse(self, tensors: Tensors) -> dict[str, Any]:
        layer, part = r"(\d+)", f"({'|'.join(PARTS)})"
        pattern = re.escape(self.place).replace(r"\{layer\}", layer).replace(r"\{part\}", part)
        return renamed(tensors, pattern, self._number)

    def _placed(self, number: int) -> str:
        return self.place.format(layer=number // len(PARTS), part=PARTS[number % len(PARTS)])

    def _number(self, layer: str, part: str) -> str:
        return f"{self.stem}{len(PARTS) * int(layer) + PARTS.index(part):03d}"


def renamed(tensors: Tensors, pattern: str, name_of: Callable[..., str]) -> dict[str, Any]:
    """The tensors, those whose whole name has the pattern under the name made from its groups."""
    found = ((re.fullmatch(pattern, name), name, tensor) for name, tensor in tensors.items())
    return {name_of(*match.groups()) if match else name: tensor for match, name, tensor in found}


def numbered(stem: str, host: str) -> tuple[Step, Step]:
    """Both factors of the updates at `host`."""
    return Numbered(f"{stem}_a_", f"{host}.down.weight"), Numbered(f"{stem}_b_", f"{host}.up.weight")


ENCODER_HOST = "image_encoder.blocks.{layer}.attend.attention.qkv.{part}"
DECODER = "mask_decoder.transformer.host"  # SAMed_s alone has it: there SAM's transformer rests
DECODER_HOST = f"{DECODER}.layers.{{layer}}"
FINAL = rf"{DECODER}.final_attention"

SAMED = Table(
    UPSTREAM,
    Rule(r"attention\.qkv\.(weight|bias)$", r"attention.qkv.host.\1"),
    Rule(r"^sam\.image_encoder\.", r"image_encoder."),
    Rule(r"^sam\.mask_decoder\.transformer\.", rf"{DECODER}."),
    *(Rule(rf"({re.escape(DECODER)}\..+)\.{part}\.(weight|bias)$", rf"\1.{part}.host.\2") for part in PARTS),
    *numbered("w", ENCODER_HOST),
    *numbered("sa", f"{DECODER_HOST}.self_attend.attention.{{part}}.update"),
    *numbered("cti", f"{DECODER_HOST}.to_image.{{part}}.update"),
    *numbered("cit", f"{DECODER_HOST}.to_tokens.{{part}}.update"),
    Rule(r"^fati_qa$", f"{FINAL}.query.update.down.weight"),
    Rule(r"^fati_qb$", f"{FINAL}.query.update.up.weight"),
    Rule(r"^fati_va$", f"{FINAL}.value.update.down.weight"),
    Rule(r"^fati_vb$", f"{FINAL}.value.update.up.weight"),
)

WRAPPED = Table(
    Rule(r"^sam\.", r""),
    UPSTREAM,
    Rule(r"attention\.qkv\.qkv\.", r"attention.qkv.host."),
    Rule(r"attention\.qkv\.linear_a_q\.", r"attention.qkv.query.down."),
    Rule(r"attention\.qkv\.linear_b_q\.", r"attention.qkv.query.up."),
    Rule(r"attention\.qkv\.linear_a_v\.", r"attention.qkv.value.down."),
    Rule(r"attention\.qkv\.linear_b_v\.", r"attention.qkv.value.up."),
)
