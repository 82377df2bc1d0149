"""SAM's pieces with updates of query and value: a block of the encoder, and a decoder whose transformer rests."""

from functools import partial

from hilum.parts import sam as parts
from hilum.parts.qv_lora import Lora, QvLora, Resting
from hilum.parts.sam import SamConfig
from hilum.parts.sam_image_encoder import Attend, Block, Transform
from hilum.parts.sam_mask_decoder import CrossAttention, MaskDecoder


def tuned_block(config: SamConfig, index: int, *, rank: int) -> Block:
    """SAM's block with updates beside query and value."""
    attention = parts.attention(config, index, wrap=partial(QvLora, rank=rank))
    attend = Attend(parts.norm(config), attention, window=parts.window(config, index))
    return Block(attend, Transform(parts.norm(config), parts.mlp(config)))


def resting_decoder(config: SamConfig, *, rank: int) -> MaskDecoder:
    """SAM's decoder, whose transformer rests but for updates beside every query and value."""
    decoder = parts.plain_decoder(config)
    for part in list(decoder.transformer.modules()):
        if isinstance(part, CrossAttention):
            part.query = Lora(part.query, rank=rank)  # type: ignore[assignment]
            part.value = Lora(part.value, rank=rank)  # type: ignore[assignment]
    decoder.transformer = Resting(decoder.transformer)
    return decoder
