"""The teacher at work: each image is asked for the phrases of its own caption."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from glip_pl import __version__
from glip_pl.inference.postprocess import PostProcess
from glip_pl.inference.predictor import Predictor
from glip_pl.inference.result import Result
from glip_pl.labelling.sources import Item
from glip_pl.labelling.tasks import LabelTask, Skip
from glip_pl.prompts import Prompt
from glip_pl.prompts.caption_compiler import compile_caption
from glip_pl.prompts.compiled import CompiledPrompt
from glip_pl.teaching.captions import NO_CAPTION, asked_of
from glip_pl.teaching.duplicates import Fingerprint
from glip_pl.teaching.ensemble import joined, with_list
from glip_pl.teaching.lessons import Found, Rule, lesson_of
from glip_pl.teaching.sources import caption_beside

UNREADABLE = "caption that the text encoder cannot read"
NOTHING_SURE = "image without a box that is sure"


class CaptionLessons(LabelTask):
    """Labels for training, out of photos with captions.

    Args:
        model: The teacher.
        rule: Which of its boxes teach.

    Attributes:
        provenance: Who labelled, as it is written beside each image: the hash of the weights, the
            rule, and the version of this package.
    """

    phrases: tuple[str, ...] = ()

    def __init__(self, model: Predictor, rule: Rule) -> None:
        self._tokenizer, self._rule = model.tokenizer, rule
        self.provenance = {
            "weights": model.digest(),
            **asdict(rule),
            "glip_pl": __version__,
        }
        self._asked: dict[Item, Prompt] = {}

    def prompt_of(self, item: Item) -> CompiledPrompt | Skip:
        """See `LabelTask.prompt_of`."""
        caption = caption_beside(item.path) if item.prompt is None else item.prompt
        if caption is None:
            return Skip(NO_CAPTION)
        prompt, reason = asked_of(caption)
        if prompt is None:
            return Skip(str(reason))
        try:
            compiled = compile_caption(
                prompt.caption, self._tokenizer, tokens_positive=prompt.tokens_positive
            )
        except ValueError:  # A phrase without a known letter, or a sentence beyond its length.
            return Skip(UNREADABLE)
        self._asked[item] = prompt
        return with_list(compiled, self._tokenizer) if self._rule.ensemble else compiled

    def record(self, item: Item, found: Result) -> dict[str, Any]:
        """Return the line of training data, and what tells the image from others."""
        own = Fingerprint.of(item.path)
        prompt = self._asked.pop(item)
        lesson, unsure = lesson_of(prompt, self._boxes(prompt, found), self._rule)
        record = {
            "content": own.content,
            "picture": f"{own.picture:016x}",
            "unsure": [asdict(region) for region in unsure],
        }
        if lesson is None:
            return {**record, "skipped": NOTHING_SURE}
        name = Path(item.path).as_posix()
        return {**record, "line": lesson.line(name, found.size, self.provenance)}

    def _boxes(self, prompt: Prompt, found: Result) -> Found:
        if not self._rule.ensemble:
            return Found(found.boxes, found.scores, found.labels)
        kept = PostProcess(nms_iou=self._rule.nms_iou, max_detections=len(found.scores))
        both = joined(found, prompt, kept)
        if self._rule.best_only:
            both = both.best_of_each_place()
        return Found(both.boxes, both.scores, both.phrases)

    def choices(self) -> dict[str, Any]:
        """See `LabelTask.choices`."""
        return {"lessons": asdict(self._rule)}
