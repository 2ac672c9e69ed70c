"""Checks of this project against values that official GLIP computed.

A case is an ``.npz`` file of arrays with a ``.json`` beside it, whose ``kind`` says which check it
is; or such a ``.json`` alone, with small arrays under ``values``. `CHECKS` maps each kind to a
function that yields the stages of the case, each with its deviation and what is allowed.
"""

from collections.abc import Callable, Iterator

from parity.case import Case, Stage
from parity.evaluation import check_lvis, check_recall
from parity.forward import check_forward
from parity.pieces import (
    check_assignment,
    check_blocks,
    check_postprocess,
    check_preprocess,
    check_prompts,
    check_tokens,
    check_weights,
)
from parity.training import check_training

CHECKS: dict[str, Callable[[Case], Iterator[Stage]]] = {
    "atss_assign": check_assignment,
    "eval_flickr_recall": check_recall,
    "eval_lvis_fixed_ap": check_lvis,
    "forward": check_forward,
    "postprocess": check_postprocess,
    "preprocess": check_preprocess,
    "prompt_builder": check_prompts,
    "tokens_positive_map": check_tokens,
    "train_losses": check_training,
    "unit_blocks": check_blocks,
    "weights_check": check_weights,
}
