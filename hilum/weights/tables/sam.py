"""SAM's names: of the published files (segment-anything), and of transformers' SamModel.

`UPSTREAM` leads from the published names to ours, `TRANSFORMERS` from SamModel's to ours; each has its inverse. The
encoder's rules are apart, because LVM-Med publishes an encoder alone, without a prefix.
"""

from hilum.weights.rename import Rule, Table, Twin

ENCODER = Table(
    Rule(r"patch_embed\.proj", r"patches"),
    Rule(r"pos_embed$", r"position"),
    Rule(r"(blocks\.\d+)\.norm1", r"\1.attend.norm"),
    Rule(r"(blocks\.\d+)\.attn\.qkv", r"\1.attend.attention.qkv"),
    Rule(r"(blocks\.\d+)\.attn\.proj", r"\1.attend.attention.output"),
    Rule(r"(blocks\.\d+)\.attn\.rel_pos_h", r"\1.attend.attention.relative.rows"),
    Rule(r"(blocks\.\d+)\.attn\.rel_pos_w", r"\1.attend.attention.relative.columns"),
    Rule(r"(blocks\.\d+)\.norm2", r"\1.transform.norm"),
    Rule(r"(blocks\.\d+)\.mlp\.lin1", r"\1.transform.mlp.widen"),
    Rule(r"(blocks\.\d+)\.mlp\.lin2", r"\1.transform.mlp.narrow"),
)
PROMPTS = Table(
    Rule(r"pe_layer\.positional_encoding_gaussian_matrix", r"fourier.frequencies"),
    Rule(r"point_embeddings\.0\.weight$", r"negative"),
    Rule(r"point_embeddings\.1\.weight$", r"positive"),
    Rule(r"point_embeddings\.2\.weight$", r"low_corner"),
    Rule(r"point_embeddings\.3\.weight$", r"high_corner"),
    Rule(r"not_a_point_embed\.weight$", r"not_a_point"),
    Rule(r"no_mask_embed\.weight$", r"no_mask"),
    Rule(r"mask_downscaling", r"mask_reader"),
)
DECODER = Table(
    Rule(r"iou_token\.weight", r"tokens.quality"),
    Rule(r"mask_tokens\.weight", r"tokens.masks"),
    Rule(r"(transformer\.layers\.\d+)\.self_attn", r"\1.self_attend.attention"),
    Rule(r"(transformer\.layers\.\d+)\.cross_attn_token_to_image", r"\1.to_image"),
    Rule(r"(transformer\.layers\.\d+)\.cross_attn_image_to_token", r"\1.to_tokens"),
    Rule(r"(transformer\.layers\.\d+)\.norm1", r"\1.self_norm"),
    Rule(r"(transformer\.layers\.\d+)\.norm2", r"\1.image_norm"),
    Rule(r"(transformer\.layers\.\d+)\.norm3", r"\1.mlp_norm"),
    Rule(r"(transformer\.layers\.\d+)\.norm4", r"\1.key_norm"),
    Rule(r"(transformer\.layers\.\d+)\.mlp\.lin1", r"\1.mlp.layers.0"),
    Rule(r"(transformer\.layers\.\d+)\.mlp\.lin2", r"\1.mlp.layers.1"),
    Rule(r"final_attn_token_to_image", r"final_attention"),
    Rule(r"norm_final_attn", r"final_norm"),
    Rule(r"(transformer\..+)\.q_proj\.", r"\1.query."),
    Rule(r"(transformer\..+)\.k_proj\.", r"\1.key."),
    Rule(r"(transformer\..+)\.v_proj\.", r"\1.value."),
    Rule(r"(transformer\..+)\.out_proj\.", r"\1.output."),
    Rule(r"output_upscaling", r"upscaling"),
    Rule(r"output_hypernetworks_mlps", r"mask_heads"),
    Rule(r"iou_prediction_head", r"quality_head"),
)
UPSTREAM = Table(ENCODER, PROMPTS, DECODER)

TRANSFORMERS_TO_UPSTREAM = Table(
    Twin("prompt_encoder.shared_embedding.positional_embedding", of="shared_image_embedding.positional_embedding"),
    Rule(
        r"^shared_image_embedding\.positional_embedding$",
        r"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    Rule(r"^vision_encoder\.patch_embed\.projection", r"image_encoder.patch_embed.proj"),
    Rule(r"^vision_encoder\.pos_embed", r"image_encoder.pos_embed"),
    Rule(r"^vision_encoder\.layers\.(\d+)", r"image_encoder.blocks.\1"),
    Rule(r"(image_encoder\.blocks\.\d+)\.layer_norm(\d)", r"\1.norm\2"),
    Rule(r"^vision_encoder\.neck\.conv1", r"image_encoder.neck.0"),
    Rule(r"^vision_encoder\.neck\.layer_norm1", r"image_encoder.neck.1"),
    Rule(r"^vision_encoder\.neck\.conv2", r"image_encoder.neck.2"),
    Rule(r"^vision_encoder\.neck\.layer_norm2", r"image_encoder.neck.3"),
    Rule(r"prompt_encoder\.point_embed\.", r"prompt_encoder.point_embeddings."),
    Rule(r"mask_embed\.conv1", r"mask_downscaling.0"),
    Rule(r"mask_embed\.layer_norm1", r"mask_downscaling.1"),
    Rule(r"mask_embed\.conv2", r"mask_downscaling.3"),
    Rule(r"mask_embed\.layer_norm2", r"mask_downscaling.4"),
    Rule(r"mask_embed\.conv3", r"mask_downscaling.6"),
    Rule(r"(transformer\.layers\.\d+)\.layer_norm(\d)", r"\1.norm\2"),
    Rule(r"layer_norm_final_attn", r"norm_final_attn"),
    Rule(r"mask_decoder\.upscale_conv1", r"mask_decoder.output_upscaling.0"),
    Rule(r"mask_decoder\.upscale_layer_norm", r"mask_decoder.output_upscaling.1"),
    Rule(r"mask_decoder\.upscale_conv2", r"mask_decoder.output_upscaling.3"),
    Rule(r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0", r"\1.layers.1"),
    Rule(r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.proj_in", r"\1.layers.0"),
    Rule(r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.proj_out", r"\1.layers.2"),
)
TRANSFORMERS = Table(TRANSFORMERS_TO_UPSTREAM, UPSTREAM)
