"""Our BERT tower is transformers' own at its own sizes: same names, same numbers, padding seen by nobody."""

import pytest
import torch

from hilum.parts.bert import BertSizes, bert, first, last, pooled, states
from hilum.weights.hollow import Hollow

SMALL = BertSizes(vocabulary=90, width=24, layers=3, heads=2, hidden=40, positions=16)


def words() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.tensor([[2, 7, 9, 3, 0, 0], [2, 5, 8, 11, 40, 3]])
    return ids, ids > 0


@pytest.mark.parametrize("pooler", [False, True])
def test_names_and_sizes_are_those_of_the_published_base(pooler):
    from transformers import BertConfig, BertModel

    with torch.device("meta"):
        ours, theirs = bert(BertSizes(), pooler=pooler), BertModel(BertConfig(), add_pooling_layer=pooler)
    sizes = [{name: each.shape for name, each in network.state_dict().items()} for network in (ours, theirs)]
    assert sizes[0] == sizes[1]
    assert ("pooler.dense.weight" in sizes[0]) == pooler


def test_both_attentions_agree_and_padding_counts_for_nothing():
    torch.manual_seed(0)
    eager, sdpa = bert(SMALL).eval(), bert(SMALL, attention="sdpa").eval()
    sdpa.load_state_dict(eager.state_dict())
    ids, mask = words()
    with torch.inference_mode():
        found = last(eager, ids, mask)
        torch.testing.assert_close(last(sdpa, ids, mask), found, atol=1e-5, rtol=0)
        torch.testing.assert_close(last(eager, ids[:1, :4], mask[:1, :4]), found[:1, :4], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_first_state_is_the_same_however_far_texts_are_padded():
    torch.manual_seed(0)
    network = bert(SMALL).eval()
    ids, mask = words()
    wider, masked = (torch.nn.functional.pad(each, (0, 5)) for each in (ids, mask))
    wanted = last(network, wider, masked)[:, 0]
    torch.testing.assert_close(first(network, wider, masked), wanted, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(first(network, ids, mask), wanted, atol=1e-6, rtol=1e-5)


def test_states_begin_with_the_embeddings_and_end_with_the_last():
    torch.manual_seed(0)
    network = bert(SMALL, pooler=True).eval()
    with torch.inference_mode():
        all_states = states(network, *words())
        assert len(all_states) == SMALL.layers + 1
        torch.testing.assert_close(all_states[0], network.embeddings(words()[0]))
        torch.testing.assert_close(all_states[-1], last(network, *words()))
        first = network.pooler.dense(all_states[-1][:, 0]).tanh()
        torch.testing.assert_close(pooled(network, *words()), first)


def test_it_is_made_without_memory_where_weights_are_still_to_come():
    with Hollow():
        network = bert(SMALL)
    assert {each.device.type for each in network.parameters()} == {"meta"}
    network.load_state_dict(bert(SMALL).state_dict(), assign=True)
    assert last(network.eval(), *words()).isfinite().all()
