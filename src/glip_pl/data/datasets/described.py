"""Described object detection: the categories are sentences, some about what is *not* there."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from glip_pl.data.datasets.detection import CategoryDetection
from glip_pl.data.formats import AnnotationSet
from glip_pl.metrics import DetectionAP, GroundingMetric
from glip_pl.prompts import PromptTemplate
from glip_pl.structures import Sample

SCENARIOS = ("intra", "inter")


class DescribedDetection(CategoryDetection):
    """The D³ data set, for evaluation; see https://arxiv.org/abs/2307.12813.

    COCO JSON whose categories are descriptions. Their fields are those of the records of D³'s
    toolkit: a category has ``is_negative``, true for a description of an absence ("a dog without a
    leash"), and ``group_id``, the scenarios that it belongs to; an image has ``group_id``, its
    scenario. The toolkit keeps them in pickles, which are not read here, and its own JSON files
    have not been seen, so write these fields into the JSON before.

    The results are `map` over all descriptions (FULL), `map_presence` (PRES) and `map_absence`
    (ABS). The published code evaluates each of the three against a file of its own, and counts
    every box in that file: within scenarios, boxes of descriptions that an image is not asked for
    would count as missed. Here an image is judged for what it is asked for.
    """

    def __init__(
        self,
        annotations: str,
        images: str = "images",
        *,
        template: PromptTemplate | None = None,
        scenario: Literal["intra", "inter"] = "intra",
    ) -> None:
        """Note where the data lie.

        Args:
            annotations: JSON file, relative to the data module's root.
            images: Folder of the image files, relative to the root.
            template: How descriptions become a caption.
            scenario: Ask each image for the descriptions of its scenario, D³'s default, or, with
                "inter", for all.

        Raises:
            ValueError: There is no such scenario.
        """
        super().__init__(annotations, images, template=template, fixed_prompt=True)
        if scenario not in SCENARIOS:
            raise ValueError(f'there is no scenario {scenario!r}; choose "intra" or "inter"')
        self.scenario = scenario
        self._kinds: dict[str, list[int]] = {}
        self._asked: dict[int, list[int]] = {}

    def read_set(self, source: Path, folder: Path) -> AnnotationSet:
        """Read D³'s JSON only, since other forms lack what the metric needs."""
        return self.read_json(source, folder)

    def take_document(self, document: dict[str, Any], source: Path) -> None:
        """Read which descriptions are of which kind and scenario."""
        self._kinds = {"presence": [], "absence": []}
        scenarios: dict[int, list[int]] = {}
        try:
            for category in document["categories"]:
                kind = "absence" if category["is_negative"] else "presence"
                self._kinds[kind].append(category["id"])
                for group in category["group_id"]:
                    scenarios.setdefault(group, []).append(category["id"])
            self._asked = {
                image["id"]: scenarios.get(image["group_id"], []) for image in document["images"]
            }
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{str(source)!r} lacks a field of D³ ({error!r}): write `is_negative` and a list "
                "`group_id` into its categories, and a number `group_id` into its images"
            ) from error

    def select(self, found: AnnotationSet) -> list[Any]:
        """Turn images and boxes into tensors; images asked for nothing are left out."""
        records = super().select(found)
        if self.scenario == "inter":
            return records
        idle = [record.path.name for record in records if not self._asked[record.image_id]]
        if idle:
            self.problems["image of a scenario without descriptions"] = idle
        return [record for record in records if self._asked[record.image_id]]

    def make_sample(self, record: Any, image: np.ndarray) -> Sample:
        """Join boxes and pixels with the prompt that the image is asked."""
        sample = super().make_sample(record, image)
        if self.scenario == "inter":
            return sample
        truth = sample.truth
        assert truth is not None
        asked = self._asked[truth.image_id]
        columns = [k for k, i in enumerate(sample.phrase_ids.tolist()) if i in asked]
        prompt = self.template.join([self.names_by_id[int(sample.phrase_ids[k])] for k in columns])
        return replace(
            sample,
            prompt=prompt,
            truth=replace(truth, shows=truth.shows[:, columns]),
            phrase_ids=sample.phrase_ids[columns],
            chunks=(),
        )

    def make_metric(self) -> GroundingMetric:
        """Make COCO's AP over the descriptions and over each kind of them."""
        return DetectionAP(self.names_by_id, groups=self._kinds)
