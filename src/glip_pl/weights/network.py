"""The network of a description: backbone, text encoder and fusion plugin by class and arguments.

A description is what checkpoints keep as ``hyper_parameters`` and folders of weights as
``model.yaml``. Building from it needs nothing of training.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from glip_pl.backbones import Backbone
from glip_pl.fusion import FusionPlugin
from glip_pl.head import HeadStart
from glip_pl.model import GLIP
from glip_pl.plugins import fusion_plugins
from glip_pl.text import TextEncoder
from glip_pl.weights.allowed_classes import check_class_paths, instantiate, load_class

PARTS: dict[str, type[Any]] = {
    "backbone": Backbone,
    "text": TextEncoder,
    "fusion": FusionPlugin,
}
# Where a part would start training from; of no use, and often on another machine, once the weights
# are known. BertEncoder's `pretrained` is a name and tells the architecture, too.
_STARTS: dict[str, Any] = {"weights": None, "load_weights": False}


def build_network(described: Mapping[str, Any], *, trust: Sequence[str] = ()) -> GLIP:
    """Build a network, in evaluation mode, whose weights are still to come.

    Args:
        described: ``backbone``, ``text`` and ``fusion``, each with ``class_path`` and
            ``init_args``, and the arguments of `GLIP`; other entries are left aside.
        trust: Modules whose classes may be imported, beside those of plugins.

    Raises:
        ValueError: A part is not described, is no such part, or cannot be built.
    """
    named = {part: described.get(part) for part in (*PARTS, "neck")}
    check_class_paths(named, "the description", trust)
    fusion_plugins()  # A broken plugin is named here.
    built: dict[str, Any] = {}
    for part, kind in PARTS.items():
        given = described.get(part)
        if not isinstance(given, Mapping) or not isinstance(given.get("class_path"), str):
            raise ValueError(
                f"the model's description has no {part} with a class_path; give weights that "
                "`glip fit` or `glip convert` wrote"
            )
        built[part] = instantiate(without_start(given), trust)
        if not isinstance(built[part], kind):
            raise ValueError(f"{given['class_path']} is no {part}: derive it from {kind.__name__}")
    sizes = [name for name in inspect.signature(GLIP).parameters if name not in PARTS]
    given = {name: described[name] for name in sizes if name in described}
    if isinstance(neck := given.get("neck"), Mapping):
        # A neck is built by the network, which knows the channels of its backbone.
        neck_class: Callable[..., Any] = load_class(neck["class_path"], trust)
        given["neck"] = partial(neck_class, **dict(neck.get("init_args") or {}))
    if isinstance(head := given.get("head"), Mapping):
        given["head"] = HeadStart(**head)
    network = GLIP(**built, **given)
    return network.eval()


def without_start(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part's description without the files that its training started from."""
    arguments = dict(described.get("init_args") or {})
    arguments |= {name: value for name, value in _STARTS.items() if name in arguments}
    if arguments.get("pretrained") is True:
        arguments["pretrained"] = False
    if "load_weights" not in arguments and isinstance(arguments.get("pretrained"), str):
        arguments["load_weights"] = False
    return {**described, "init_args": arguments}
