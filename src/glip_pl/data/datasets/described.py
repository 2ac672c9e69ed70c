"""Described object detection: the categories are sentences, some about what is *not* there."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from glip_pl.data.annotations import Problems
from glip_pl.data.datasets.detection import CategoryDetection
from glip_pl.data.datasets.samples import SampleContext, SampleMaker
from glip_pl.data.formats import AnnotationSet, Record
from glip_pl.data.formats.coco.coco_json import read_document
from glip_pl.data.formats.columns.records import ColumnRecords
from glip_pl.data.formats.common.checks import note
from glip_pl.metrics import DetectionAP, GroundingMetric
from glip_pl.prompts import PromptTemplate
from glip_pl.structures import Sample

SCENARIOS = ("intra", "inter")
_IDLE = "image of a scenario without descriptions"


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
        self._read_scenarios(source)
        return self.read_json(source, folder)

    def _read_scenarios(self, source: Path) -> None:
        """Read which descriptions are of which kind and scenario."""
        lists = read_document(source).lists
        self._kinds = {"presence": [], "absence": []}
        scenarios: dict[int, list[int]] = {}
        try:
            for category in lists["categories"]:
                kind = "absence" if category["is_negative"] else "presence"
                self._kinds[kind].append(category["id"])
                for group in category["group_id"]:
                    scenarios.setdefault(group, []).append(category["id"])
            self._asked = {
                image["id"]: scenarios.get(image["group_id"], []) for image in lists["images"]
            }
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{str(source)!r} lacks a field of D³ ({error!r}): write `is_negative` and a list "
                "`group_id` into its categories, and a number `group_id` into its images"
            ) from error

    def select(self, found: AnnotationSet, problems: Problems) -> ColumnRecords:
        """Choose the images that are asked for something."""
        records = super().select(found, problems)
        if self.scenario == "inter":
            return records
        asked = np.array([bool(self._asked[i]) for i in records.image_ids.tolist()], bool)
        for name in records.take(~asked).file_names():
            note(problems, _IDLE, PurePosixPath(name).name)
        return records.take(asked)

    def maker(self, context: SampleContext) -> SampleMaker:
        """Make what asks every image for all descriptions, or for those of its scenario."""
        whole = super().maker(context)
        if self.scenario == "inter":
            return whole
        return _ScenarioSamples(whole, self._asked, self.names_by_id, self.template)

    def make_metric(self) -> GroundingMetric:
        """Make COCO's AP over the descriptions and over each kind of them."""
        return DetectionAP(self.names_by_id, groups=self._kinds)


class _ScenarioSamples(SampleMaker):
    """Asks each image for the descriptions of its scenario alone."""

    def __init__(
        self,
        whole: SampleMaker,
        asked: Mapping[int, Sequence[int]],
        names: Mapping[int, str],
        template: PromptTemplate,
    ) -> None:
        """Note who asks for all.

        Args:
            whole: Asks every image for all descriptions.
            asked: The ids of the descriptions that each image is asked for, by the image's id.
            names: The descriptions by id.
            template: How descriptions become a caption.
        """
        super().__init__(whole.context)
        self._whole, self._asked, self._names, self._template = whole, asked, names, template

    def readable(self, records: ColumnRecords, problems: Problems) -> ColumnRecords:
        """Keep the records that can be asked for all."""
        return self._whole.readable(records, problems)

    def make(self, record: Record, image: np.ndarray, others: Sequence[Record]) -> Sample:
        """Join boxes and pixels with the prompt that the image is asked."""
        sample = self._whole.make(record, image, others)
        truth, asked = sample.truth, self._asked[record.image_id]
        assert truth is not None
        columns = [k for k, i in enumerate(sample.phrase_ids.tolist()) if i in asked]
        phrase_ids = sample.phrase_ids[columns]
        return replace(
            sample,
            prompt=self._template.join([self._names[i] for i in phrase_ids.tolist()]),
            truth=replace(truth, shows=truth.shows[:, columns]),
            phrase_ids=phrase_ids,
            chunks=(),
        )
