"""LVM-Med against the numbers of the published code: encoder, decoder, classifier, graph matching, local selections."""

import re
from functools import lru_cache

import pytest
import torch
from parity.kit import Kit, close
from parity.sam_sizes import sam_sizes

from hilum.nn.graph import MessagePassing, nearest_edges
from hilum.objectives.matching import BlackBoxMatching, Estimator, Graph, costs, hamming, nearest_places
from hilum.parts.sam import SamBatch
from hilum.parts.sam_frame import DEVIATION, MEAN
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.systems.lvm_med import Classifier, LvmMed, LvmMedConfig
from hilum.weights.rename import Rule, Table, fill

KITS = ("lvm-med",)
BESIDE = ("fc.", "message_pass_node_features.")  # in a kit's file, not in the published one
MESSAGES = Table(
    Rule(r"^message_pass_node_features\.convs\.", r"layers."),
    Rule(r"\.lin_rel\.", r".neighbours."),
    Rule(r"\.lin_root\.", r".own."),
)


def config_of(kit: Kit) -> LvmMedConfig:
    sizes = kit.sizes
    encoder = sam_sizes(sizes, positions=False)
    return LvmMedConfig(encoder, decoder=True)


def public(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The kit's tensors under the names of the published file: the encoder's without a prefix."""
    return {name.removeprefix("image_encoder."): t for name, t in weights.items() if not name.startswith(BESIDE)}


def load(kit: Kit, weights: dict[str, torch.Tensor]) -> LvmMed:
    config = config_of(kit)
    network = LvmMed.build(config)
    fill(network, LvmMed.table.apply(public(weights)))
    return LvmMed(network.eval(), config)


@lru_cache(maxsize=2)
def system(kit: Kit) -> LvmMed:
    return load(kit, kit.weights)


@lru_cache(maxsize=2)
def pixels(kit: Kit) -> torch.Tensor:
    mean, deviation = (torch.tensor(constants)[:, None, None] for constants in (MEAN, DEVIATION))
    return (kit.inputs["images_u8"].float() - mean) / deviation


def prompts(kit: Kit) -> SamPrompts:
    return SamPrompts(boxes=kit.inputs["boxes"].reshape(-1, 4))


def test_table_uses_every_weight_once_and_leads_back(kit):
    named = public(kit.weights)
    ours = LvmMed.table.apply(named)
    assert ours.keys() == system(kit).network.state_dict().keys()
    back = LvmMed.table.inverse(ours)
    assert back.keys() == named.keys()
    assert all(torch.equal(back[name], named[name]) for name in back)


def test_seg_blocks_and_neck(kit):
    encoder = system(kit).network.image_encoder
    heard: dict[str, torch.Tensor] = {}
    hooks = [
        block.register_forward_hook(lambda _, given, made, name=f"seg/block{number}": heard.update({name: made}))
        for number, block in enumerate(encoder.blocks)
    ]
    hooks.append(
        encoder.blocks[0].register_forward_pre_hook(lambda _, given: heard.update({"seg/tokens_in": given[0]}))
    )
    with torch.no_grad():
        close(encoder(pixels(kit)), kit.outputs["seg/image_embedding"])
    for hook in hooks:
        hook.remove()
    assert len(heard) == kit.sizes.depth + 1
    for name, mine in heard.items():
        close(mine[: len(kit.outputs[name])], kit.outputs[name])


def test_seg_from_box_to_logits(kit):
    with torch.no_grad():
        logits, quality = system(kit).network.ask(kit.outputs["seg/image_embedding"], prompts(kit))
    close(logits[:, :1], kit.outputs["seg/low_res_logits"])
    close(quality[:, :1], kit.outputs["seg/iou"])


def test_seg_loss_trains_the_decoder_alone(kit):
    fresh = load(kit, kit.weights)
    terms = fresh.loss(SamBatch(pixels(kit), prompts(kit), kit.inputs["low_res_gt"].float()))
    close(terms.total.detach(), kit.outputs["seg/loss_dice_ce"])
    terms.total.backward()
    gradients = LvmMed.table.inverse(dict(fresh.network.named_parameters()))
    trained = {name for name, weight in gradients.items() if weight.grad is not None}
    assert trained
    assert all(name.startswith("mask_decoder.") for name in trained)
    for name, expected in kit.outputs.items():
        if name.startswith("seg/grad/"):
            close(gradients[name.removeprefix("seg/grad/")].grad, expected)


def test_cls_mean_before_the_neck_and_linear_layer(kit):
    classifier = Classifier(system(kit).network.image_encoder, kit.sizes.dim, kit.sizes.num_classes).eval()
    fill(classifier.fc, {name: kit.weights[f"fc.{name}"] for name in ("weight", "bias")})
    with torch.no_grad():
        close(classifier.features(pixels(kit)).mean((-2, -1)), kit.outputs["cls/pooled_pre_neck"])
        close(classifier(pixels(kit)), kit.outputs["cls/logits"])


def passing(kit: Kit, weights: dict[str, torch.Tensor]) -> MessagePassing:
    own = MESSAGES.apply({name: t for name, t in weights.items() if name.startswith("message_pass")})
    depth = len({re.findall(r"\d+", name)[0] for name in own})
    made = MessagePassing(kit.sizes.gm["feat"], depth=depth)
    fill(made, own)
    return made.eval()


def graphs(kit: Kit, weights: dict[str, torch.Tensor]) -> tuple[MessagePassing, list[torch.Tensor], list[Graph]]:
    made = passing(kit, weights)
    nodes = [kit.inputs[f"gm_nodes_{side}"].clone().requires_grad_() for side in "st"]
    edges = [kit.inputs[f"gm_edges_{side}"] for side in "st"]
    return made, nodes, [Graph(made(*each), each[1]) for each in zip(nodes, edges, strict=True)]


def matched(kit: Kit, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Everything the kit holds of the matching loss, under its names."""
    made, nodes, (source, target) = graphs(kit, weights)
    unary, quadratic = costs(source, target)
    unary.retain_grad()
    quadratic.retain_grad()
    found, _ = BlackBoxMatching.apply(
        unary, quadratic, (source.edges, target.edges), Estimator(strength=kit.sizes.gm["lam"])
    )
    loss = hamming(found)
    loss.backward()
    return {
        "gm/node_features_s": source.nodes,
        "gm/node_features_t": target.nodes,
        "gm/edge_features_s": source.differences,
        "gm/unary_cost": unary,
        "gm/quadratic_cost": quadratic,
        "gm/matching": found[None],
        "gm/hamming_loss": loss,
        "gm/grad_unary_cost": unary.grad,
        "gm/grad_quadratic_cost": quadratic.grad,
        "gm/grad_nodes_s": nodes[0].grad,
        "gm/grad_nodes_t": nodes[1].grad,
        "gm/grad_conv0_rel_weight": made.layers[0].neighbours.weight.grad,
    }


def test_gm_costs_matching_loss_and_gradients(kit):
    mine = matched(kit, kit.weights)
    theirs = {name: value for name, value in kit.outputs.items() if name.startswith("gm/")}
    assert theirs.keys() <= mine.keys()
    for name, expected in theirs.items():
        close(mine[name].detach(), expected)


def test_gm_edges_lead_to_the_nearest(kit):
    for side in "st":
        edges, nodes = kit.inputs[f"gm_edges_{side}"], kit.inputs[f"gm_nodes_{side}"]
        mine = nearest_edges(nodes, kit.sizes.gm["k"])
        assert sorted(mine.T.tolist()) == sorted(edges.T.tolist())


def test_local_selections(kit):
    maps = (kit.inputs["maps_1"], kit.inputs["maps_2"])
    close(nearest_places(maps, maps)[1], kit.outputs["local/l2_nn_of_maps_1"])
    (count,) = {int(name.rpartition("top")[2]) for name in kit.outputs if re.fullmatch(r"local/loc_.*top\d+", name)}
    own, nearest = nearest_places((kit.inputs["loc_1"], kit.inputs["loc_2"]), maps, count=count)
    close(own, kit.outputs[f"local/loc_filtered_maps_1_top{count}"])
    close(nearest, kit.outputs[f"local/loc_nn_top{count}"])


@pytest.mark.parametrize(
    "name",
    [
        "image_encoder.blocks.0.attn.rel_pos_w",
        "image_encoder.patch_embed.proj.bias",
        "image_encoder.neck.2.weight",
        "prompt_encoder.point_embeddings.3.weight",
        "mask_decoder.transformer.layers.1.norm2.bias",
    ],
)
def test_a_perturbed_weight_is_noticed(kit, name):
    """The negative control: one element of one weight changed, and the logits no longer agree."""
    perturbed = load(kit, changed(kit.weights, name))
    with torch.no_grad():
        logits, _ = perturbed.network(pixels(kit), prompts(kit))
    with pytest.raises(AssertionError, match="differs by"):
        close(logits[:, :1], kit.outputs["seg/low_res_logits"])


def test_a_perturbed_message_is_noticed(kit):
    name = "message_pass_node_features.convs.1.lin_root.weight"
    with pytest.raises(AssertionError, match="differs by"):
        close(matched(kit, changed(kit.weights, name))["gm/unary_cost"].detach(), kit.outputs["gm/unary_cost"])


def changed(weights: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    other = {key: value.clone() for key, value in weights.items()}
    other[name].view(-1)[0] += 0.5
    return other
