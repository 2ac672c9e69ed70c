"""Every stage of the Grounding DINO family against transformers, with random weights.

From the choice of queries on, the oracle's cells are taken: two cells of nearly equal score may
change places by rounding.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glip_pl.boxes import to_cxcywh
from glip_pl.layers.multiscale import CellGrid
from glip_pl.layers.pyramid import flatten
from glip_pl.model import GLIP
from parity import dino_oracle as small
from parity.case import Stage, compare, differing


def check_family(family: str) -> Iterator[Stage]:
    """Compare a small model of a family stage by stage, padding and short captions included."""
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        both = Both.of(family, Path(name))
        yield from both.encoded()
        yield from both.selected()
        yield from both.decoded()


@dataclass(frozen=True)
class Both:
    """What both say of the same inputs; `stages` holds the oracle's features by name."""

    own: GLIP
    given: small.Inputs
    expected: Any
    stages: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, family: str, folder: Path) -> "Both":
        """Build both models, and ask the oracle."""
        theirs: Any = small.oracle(family)
        own = small.ours(theirs, small.save(theirs, folder / "model"))
        given, stages = small.inputs(own), dict[str, Any]()
        watched = {f"level {k}": m for k, m in enumerate(theirs.model.input_proj_vision)}
        watched |= {f"layer {k}": m for k, m in enumerate(theirs.model.encoder.layers)}
        watched["text"] = theirs.model.text_projection
        for key, module in watched.items():
            module.register_forward_hook(lambda _m, _i, out, key=key: stages.__setitem__(key, out))
        return cls(own, given, theirs(**given.for_oracle(own)), stages)

    def encoded(self) -> Iterator[Stage]:
        """Compare maps, text features and every layer of the encoder."""
        image = self.own.encode_image(self.given.images, self.given.mask)
        text = self.own.encode_text(self.given.tokens)
        fusion, mask = self.own.fusion, self.given.tokens.mask
        for k, level in enumerate(image.levels):
            yield compare(f"level {k}", level, self.stages[f"level {k}"])
        projected = fusion.get_submodule("project_text")(text.hidden)
        yield compare("text", projected[mask], self.stages["text"][mask])
        grid = CellGrid.of(image.mask, image.levels, image.strides)
        found: list[Tensor] = []
        layers = [*fusion.get_submodule("cells").children()]
        phrases = [*fusion.get_submodule("phrases").children()]
        hooks = [
            module.register_forward_hook(lambda _m, _i, out: found.append(out))
            for pair in zip(layers, phrases, strict=True)
            for module in pair
        ]
        fusion.encode(image, text, grid)  # type: ignore[operator]
        for hook in hooks:
            hook.remove()
        for k in range(len(layers)):
            (cells, tokens), _ = self.stages[f"layer {k}"]
            yield compare(f"layer {k}, tokens", found[2 * k][mask], tokens[mask])
            yield compare(f"layer {k}, cells", found[2 * k + 1][grid.mask], cells[grid.mask])
        count = flatten(image.levels)[0].shape[1]
        yield differing("cells", iter([(count, self.expected.enc_outputs_class.shape[1])]))

    def selected(self) -> Iterator[Stage]:
        """Compare proposals, their scores, and the cells that become queries."""
        fusion: Any = self.own.fusion
        image = self.own.encode_image(self.given.images, self.given.mask)
        text = self.own.encode_text(self.given.tokens)
        grid = CellGrid.of(image.mask, image.levels, image.strides)
        cells, tokens = fusion.encode(image, text, grid)
        fusion.choose = lambda scores: self.chosen()
        proposed, proposals, real = fusion.select(cells, tokens, text.mask, grid)
        boxes = fusion.head.box(0)(proposed, proposals)
        logits = fusion.head.alignment(0)(proposed, tokens)
        del fusion.choose
        _, own_choice, _ = fusion.select(cells, tokens, text.mask, grid)
        # Else the oracle would have chosen cells that propose nothing.
        yield differing("real proposals", iter([(bool(real.all()), True)]))
        yield compare("proposals", boxes, self.expected.init_reference_points)
        index = self.chosen()[..., None].expand(-1, -1, 256)
        scores = self.expected.enc_outputs_class.gather(1, index)[..., : logits.shape[2]]
        mask = self.given.tokens.mask[:, None].expand(logits.shape)
        yield compare("scores of proposals", logits[mask], scores[mask])
        yield compare("chosen queries", own_choice, proposals)

    def decoded(self) -> Iterator[Stage]:
        """Compare every layer of the decoder, logits and boxes."""
        fusion: Any = self.own.fusion
        image = self.own.encode_image(self.given.images, self.given.mask)
        text = self.own.encode_text(self.given.tokens)
        fusion.choose = lambda scores: self.chosen()
        fused, output = fusion(image, text), self.own.ground(image, text)
        del fusion.choose
        for k, regions in enumerate((*fused.intermediate[1:], fused.regions)):
            expected = self.expected.intermediate_hidden_states[:, k]
            yield compare(f"decoder {k}", regions, expected)
        mask = text.mask[:, None].expand(output.logits.shape)
        expected = self.expected.logits[..., : mask.shape[2]]
        yield compare("logits", output.logits[mask], expected[mask])
        sizes = [[int(m.any(0).sum()), int(m.any(1).sum())] * 2 for m in self.given.mask]
        boxes = to_cxcywh(output.boxes) / torch.tensor(sizes, dtype=torch.float)[:, None]
        yield compare("boxes", boxes, self.expected.pred_boxes)

    def chosen(self) -> Tensor:
        """Return the cells that the oracle chose."""
        scores: Tensor = self.expected.enc_outputs_class.amax(-1)
        return scores.topk(small.QUERIES).indices
