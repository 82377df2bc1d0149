"""CXR-BERT, the text tower of BioViL and BioViL-T (Boecking et al. 2022, sec. 3): BERT, a projection, a word head."""

from __future__ import annotations

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from hilum.parts.bert import BertSizes, bert, last
from hilum.parts.tokens import Tokens
from hilum.parts.word_head import WordHead
from hilum.values.errors import BadInput

SPECIAL = ("[CLS]", "[SEP]", "[PAD]", "[UNK]")  # not allowed in a text; [MASK] is (published code)


class TextTower(nn.Module):
    """CXR-BERT: the states, their projection into the space of films, and the head for masked words."""

    def __init__(self, sizes: BertSizes, joint: int):
        super().__init__()
        self.bert = bert(sizes)
        self.words = WordHead(sizes.width, sizes.vocabulary)
        self.head = nn.Sequential(
            OrderedDict(
                dense_to_hidden=nn.Linear(sizes.width, joint),
                act=nn.GELU(),
                LayerNorm=nn.LayerNorm(joint, 1e-12),
                dense_to_output=nn.Linear(joint, joint),
            )
        )

    def forward(self, words: Tokens) -> Float[Tensor, "n joint"]:
        """The first state, projected and not normalised."""
        return self.head(last(self.bert, words.ids, words.mask)[:, 0])

    def guesses(self, states: Float[Tensor, "n length width"]) -> Float[Tensor, "n length vocabulary"]:
        """Scores of all words at each place."""
        return self.words(states, self.bert.get_input_embeddings().weight)  # type: ignore[operator]


def spelt(text: str) -> str:
    """Without marks at its end; special tokens are refused."""
    if found := next((token for token in SPECIAL if token in text), None):
        raise BadInput(f"a text for biovil_t holds no {found}, got {text!r}; of the special tokens only [MASK] is read")
    return text.rstrip("!?.")
