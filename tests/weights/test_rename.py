"""A table of names is strict and can be read backwards."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hilum.weights.rename import Ignore, Mismatch, Rule, Table, Twin, fill


def named(*names: str) -> dict[str, torch.Tensor]:
    return {name: torch.full((2,), float(number)) for number, name in enumerate(names)}


def test_a_rule_replaces_where_it_matches_and_leaves_the_rest():
    table = Table(Rule(r"blocks\.(\d+)\.attn", r"layers.\1.attention"))
    assert set(table.apply(named("blocks.3.attn.weight", "neck.bias"))) == {"layers.3.attention.weight", "neck.bias"}


def test_steps_are_read_from_top_to_bottom():
    table = Table(Rule(r"a\.", "b."), Rule(r"b\.", "c."))
    assert set(table.apply(named("a.x"))) == {"c.x"}


@given(st.lists(st.integers(0, 99), min_size=2, max_size=2, unique=True), st.sampled_from(["weight", "bias"]))
def test_groups_may_change_places_and_come_back(numbers, kind):
    table = Table(Rule(r"^stage(\d+)\.block(\d+)\.(\w+)$", r"blocks.\2.\3.of.\1"))
    tensors = named(f"stage{numbers[0]}.block{numbers[1]}.{kind}")
    renamed = table.apply(tensors)
    assert set(renamed) == {f"blocks.{numbers[1]}.{kind}.of.{numbers[0]}"}
    assert table.inverse(renamed).keys() == tensors.keys()


def test_two_tensors_never_get_one_name():
    with pytest.raises(Mismatch, match="gives the name b twice"):
        Table(Rule("^a$", "b")).apply(named("b", "a"))


@pytest.mark.parametrize("pattern", ["a.b", "(a|(b))", "a+", "[ab]", "(?:a)b", r"a\d"])
def test_a_pattern_that_cannot_be_read_backwards_is_refused(pattern):
    with pytest.raises(ValueError, match="read backwards"):
        Rule(pattern, "x")


def test_every_group_must_be_used():
    with pytest.raises(ValueError, match="each of its 2 groups must come once"):
        Rule(r"(\d+)\.(\d+)", r"\1")


def test_transforms_have_an_undo_or_no_way_back():
    turned = Rule("weight", "kernel", torch.t, torch.t)
    tensors = {"weight": torch.arange(6.0).reshape(2, 3)}
    assert turned.apply(tensors)["kernel"].shape == (3, 2)
    assert torch.equal(Table(turned).inverse(turned.apply(tensors))["weight"], tensors["weight"])
    with pytest.raises(ValueError, match="does not say how to undo"):
        Rule("weight", "kernel", torch.t).inverse({"kernel": tensors["weight"]})


def test_a_twin_is_dropped_and_comes_back():
    table = Table(Twin("second", of="first"))
    tensors = {"first": torch.ones(2), "second": torch.ones(2)}
    assert set(table.apply(tensors)) == {"first"}
    assert set(table.inverse(table.apply(tensors))) == {"first", "second"}
    with pytest.raises(Mismatch, match="second should repeat first"):
        table.apply(named("first", "second"))


def test_only_what_is_named_in_full_is_ignored():
    table = Table(Ignore(r"optimizer\..*"))
    assert set(table.apply(named("optimizer.step", "my.optimizer.step"))) == {"my.optimizer.step"}


def test_filling_is_strict_and_says_what_is_wrong_in_short():
    network = nn.ModuleDict({name: nn.Linear(2, 2) for name in "abcde"})
    given = {f"{name}.weight": torch.zeros(2, 2) for name in "abcd"} | {
        "e.weight": torch.zeros(3, 2),
        "f": torch.ones(1),
    }
    with pytest.raises(Mismatch) as caught:
        fill(network, given)
    sentence = str(caught.value)
    assert "5 missing (a.bias, b.bias, c.bias, …)" in sentence
    assert "1 unexpected (f)" in sentence
    assert "1 of another shape (e.weight [3, 2], wanted [2, 2])" in sentence


def test_filling_gives_the_network_the_tensors_in_its_own_precision():
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    fill(network, {"weight": torch.tensor([[1.5, -2.0]], dtype=torch.float16), "bias": torch.tensor([0.25])})
    assert network.weight.dtype == torch.float32
    assert network.weight.tolist() == [[1.5, -2.0]]
    assert network.weight.requires_grad
    assert not network.bias.requires_grad
