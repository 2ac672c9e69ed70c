import json
import subprocess
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import ROOT, write_coco
from processes import run_apart
from pytorch_lightning import Trainer

from fusion_plugins.late import LateFusion
from glip_pl.backbones import FPN, TinyBackbone
from glip_pl.cli import main
from glip_pl.data import (
    CategoryDetection,
    GroundingDataModule,
    LvisDetection,
    PhraseGrounding,
    Pipeline,
)
from glip_pl.inference.postprocess import PostProcess
from glip_pl.metrics import DetectionAP, PhraseRecall
from glip_pl.results import SaveResults
from glip_pl.results.judge import judge
from glip_pl.results.manifest import image_files, protocol
from glip_pl.results.predictions import Seen, read_predictions
from glip_pl.results.run_files import Run
from glip_pl.structures import Detections
from glip_pl.system.download import file_sha256
from glip_pl.text import TinyBert
from glip_pl.training.task import GroundingTask


def write_lvis(root):
    """Write the test set once more in the form of LVIS; every third name is rare."""
    document = json.loads((root / "annotations/test.json").read_text())
    for category in document["categories"]:
        category["frequency"] = "rcf"[category["id"] % 3]
    for image in document["images"]:
        shown = {e["category_id"] for e in document["annotations"] if e["image_id"] == image["id"]}
        absent = [c["id"] for c in document["categories"] if c["id"] not in shown]
        image |= {"neg_category_ids": absent[::2], "not_exhaustive_category_ids": sorted(shown)[:1]}
    for entry in document["annotations"]:
        entry["area"] = entry["bbox"][2] * entry["bbox"][3]
    (root / "annotations/lvis_test.json").write_text(json.dumps(document))


def run_test(root, directory, **options):
    """Test an untrained model on sets of boxes and one of phrases; give the files' content."""
    write_lvis(root)
    torch.manual_seed(0)
    task = GroundingTask(
        TinyBackbone(),
        TinyBert(),
        fusion=LateFusion(d_model=64, d_text=128),
        d_model=64,
        d_text=128,
        neck=partial(FPN, extra_levels=0),
        # An untrained model is sure of nothing.
        postprocess=PostProcess(score_threshold=0.0, max_detections=20),
    )
    data = GroundingDataModule(
        str(root),
        [],
        val={},
        test={
            "boxes": CategoryDetection("annotations/test.json"),
            "phrases": PhraseGrounding("annotations/referring_test.json"),
            "lvis": LvisDetection("annotations/lvis_test.json", "images"),
        },
        eval_transform=Pipeline(short_sides=(128,), max_side=128),
    )
    trainer = Trainer(
        default_root_dir=directory,
        logger=False,
        callbacks=[SaveResults()],
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        **options,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["/somewhere/bin/glip", "test", "--config=a b.yaml"])
        trainer.test(task, datamodule=data, verbose=False)
    results = json.loads((directory / "results.json").read_text())
    return results, read_predictions(directory / "predictions.json"), task


@pytest.fixture(scope="module")
def tested(shapes_root, tmp_path_factory):
    """Results, predictions and task of one test run."""
    return run_test(shapes_root, tmp_path_factory.mktemp("run"))


def test_the_scores_stand_beside_the_manifest(tested):
    results, _, task = tested

    logged = {name: None if v == -1 else v for name, v in task.results.items()}
    assert results["metrics"] == pytest.approx(logged, nan_ok=True)
    assert set(results["manifest"]["sets"]) == {"boxes", "phrases", "lvis"}


def test_the_manifest_tells_how_names_became_a_prompt(tested):
    prompts = tested[0]["manifest"]["sets"]["boxes"]["prompts"]

    names = tested[0]["manifest"]["sets"]["boxes"]["categories"].values()
    assert prompts["captions"] == [". ".join(names)]
    assert prompts["phrases_per_chunk"] == [[len(names)]]
    assert prompts["template"]["separator"] == ". "


def test_the_manifest_tells_the_limits_the_metric_and_the_resize(tested):
    sets = tested[0]["manifest"]["sets"]

    assert sets["boxes"]["postprocess"]["max_detections"] == 20
    assert sets["boxes"]["postprocess"]["nms_iou"] == 0.6
    assert sets["boxes"]["postprocess"]["aggregate"] == "mean"
    assert sets["boxes"]["resize"] == {"short_side": 128, "max_side": 128}
    assert sets["boxes"]["metric"]["class"] == "DetectionAP"
    assert sets["phrases"]["metric"]["settings"]["topk"] == [1, 5, 10]
    assert sets["phrases"]["metric"]["settings"]["protocol"] == "any"


def test_the_manifest_knows_the_annotation_file_by_its_hash(tested, shapes_root):
    described = tested[0]["manifest"]["sets"]["boxes"]["annotations"]

    assert described["sha256"] == file_sha256(shapes_root / "annotations/test.json")


def test_the_manifest_tells_model_machine_and_versions(tested):
    manifest = tested[0]["manifest"]

    assert len(manifest["weights"]["sha256"]) == 64
    assert manifest["device"].startswith("1 x cpu (")
    assert manifest["precision"] == "32-true"
    assert manifest["command"] == "glip test '--config=a b.yaml'"
    assert {"python", "torch", "torchvision", "faster-coco-eval"} <= set(manifest["versions"])
    assert manifest["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]


def test_two_equal_runs_differ_only_in_when_they_were(tested, shapes_root, tmp_path):
    again, _, _ = run_test(shapes_root, tmp_path)

    first = tested[0]
    assert again.pop("when")["finished"] >= first["when"]["finished"]
    assert again == {name: value for name, value in first.items() if name != "when"}


def test_the_predictions_are_in_the_form_of_coco_results(tested):
    boxes = tested[1]["boxes"]

    first = boxes["detections"][0]
    assert list(first) == ["image_id", "category_id", "bbox", "score"]
    assert str(first["category_id"]) in tested[0]["manifest"]["sets"]["boxes"]["categories"]
    assert len(boxes["detections"]) <= 4 * 20


def test_the_predictions_of_phrases_name_them(tested):
    phrases = tested[1]["phrases"]

    words = {image["id"]: image["phrases"] for image in phrases["images"]}
    for entry in phrases["detections"] + phrases["truth"]:
        assert words[entry["image_id"]][entry["phrase_index"]] == entry["phrase"]


def test_the_truth_is_that_of_the_annotations_in_pixels_of_the_file(tested, shapes_root):
    annotated = json.loads((shapes_root / "annotations/test.json").read_text())["annotations"]

    stored = sorted((e["image_id"], *e["bbox"]) for e in tested[1]["boxes"]["truth"])

    expected = sorted((e["image_id"], *e["bbox"]) for e in annotated)
    assert len(stored) == len(expected)
    for row, other in zip(stored, expected, strict=True):
        assert row == pytest.approx(other, abs=0.01)


def test_images_labelled_in_part_tell_for_what(tested, shapes_root):
    annotated = json.loads((shapes_root / "annotations/lvis_test.json").read_text())["images"]

    stored = {image["id"]: image for image in tested[1]["lvis"]["images"]}

    for image in annotated:
        for key in ("neg_category_ids", "not_exhaustive_category_ids"):
            assert stored[image["id"]][key] == image[key]
    assert "neg_category_ids" not in tested[1]["boxes"]["images"][0]


def test_the_manifest_tells_which_categories_are_rare(tested):
    sets = tested[0]["manifest"]["sets"]

    rare = [int(i) for i in sets["lvis"]["categories"] if int(i) % 3 == 0]
    assert sets["lvis"]["metric"]["groups"]["rare"] == rare
    assert "groups" not in sets["boxes"]["metric"]


@pytest.mark.parametrize(
    ("name", "key", "score"),
    [
        ("boxes", "map", "AP"),
        ("phrases", "recall@5", "recall@5"),
        ("lvis", "map", "AP"),
        ("lvis", "map_frequent", "AP frequent"),
    ],
)
def test_the_predictions_judged_anew_give_the_logged_score(tested, name, key, score):
    results, predictions, _ = tested
    run = Run(results["manifest"]["sets"][name], predictions[name], {})

    scores = {found.name: found for found in judge(run, run, samples=10, seed=0).scores}

    assert scores[score].first == pytest.approx(results["metrics"][f"test/{name}/{key}"], abs=1e-4)


def test_the_results_know_their_predictions(shapes_root, tmp_path):
    results, _, _ = run_test(shapes_root, tmp_path, limit_test_batches=1)

    assert results["predictions"]["sha256"] == file_sha256(tmp_path / "predictions.json")


def describe(root, images, **options):
    """The protocol of a test on some images of a set of two."""
    dataset = CategoryDetection("annotations/train.json", **options)
    data = GroundingDataModule(str(root), [], val={}, test={"s": dataset})
    data.setup("test")
    nothing = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long)
    ids, shows = torch.tensor([1]), torch.zeros(0, 1, dtype=torch.bool)
    seen = [
        Seen(i, ("cat",), ids, nothing[0], shows, nothing[1].bool(), Detections(*nothing))
        for i in images
    ]
    return protocol(
        data,
        dataset,
        metric=DetectionAP(dataset.names_by_id),
        postprocess=PostProcess(),
        seen=seen,
        captions={"cat": [1]},
    )


@pytest.fixture
def coco(tmp_path):
    write_coco(tmp_path, {"a.png": [(1, [1, 1, 9, 9])], "b.png": []}, names={1: "cat"})
    return tmp_path


def test_other_images_of_a_set_have_another_hash(coco):
    both, one = describe(coco, [1, 2]), describe(coco, [1])

    assert both["images"]["sha256"] != one["images"]["sha256"]
    assert (both["images"]["count"], one["images"]["count"]) == (2, 1)


def test_an_image_file_of_another_size_changes_the_hash(coco):
    before = describe(coco, [1, 2])
    with (coco / "images/a.png").open("ab") as file:
        file.write(b"more")

    assert describe(coco, [1, 2])["images"]["sha256"] != before["images"]["sha256"]


def test_a_copy_of_a_set_has_the_same_hashes(coco, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "coco"
    subprocess.run(["cp", "-r", coco, copy], check=True)

    assert describe(copy, [1, 2]) == describe(coco, [1, 2])


def test_settings_of_a_metric_are_recorded_but_its_names_are_not():
    record = describe_metric(PhraseRecall((1, 3), protocol="merged"))

    assert record == {
        "class": "PhraseRecall",
        "settings": {"topk": [1, 3], "protocol": "merged", "types": []},
    }


def describe_metric(metric):
    dataset = CategoryDetection(Path(__file__).name, ".")
    data = SimpleNamespace(root=Path(__file__).parent, eval_transform=Pipeline())
    return protocol(data, dataset, metric=metric, postprocess=PostProcess(), seen=[], captions={})[
        "metric"
    ]


def test_image_files_are_known_by_id(coco):
    dataset = CategoryDetection("annotations/train.json")
    dataset.load(coco)

    assert {i: path.name for i, path in image_files(dataset).items()} == {1: "a.png", 2: "b.png"}


@pytest.mark.slow
def test_two_processes_write_what_one_writes(shapes_arguments, trained_run, tmp_path):
    arguments = [*shapes_arguments, "--trainer.accelerator=cpu"]
    checkpoint = trained_run / "checkpoints/last.ckpt"
    written = []
    for processes in (1, 2):
        options = [
            "test",
            *arguments,
            f"--ckpt_path={checkpoint}",
            f"--trainer.devices={processes}",
            f"--trainer.logger.init_args.name=test-{processes}",
            "--model.postprocess.score_threshold=0.001",
        ]
        if processes > 1:
            ddp = ROOT / "src/glip_pl/configs/recipe/ddp.yaml"
            options += [f"--config={ddp}", "--trainer.strategy.process_group_backend=gloo"]
            options += [f"--trainer.devices={processes}"]
        if processes > 1:
            run_apart(*options)
        else:
            main(options)
        (path,) = tmp_path.glob(f"runs/test-{processes}/**/predictions.json")
        written.append(read_predictions(path))

    one, two = (sets["shapes"] for sets in written)
    assert one["images"] == two["images"]
    assert one["truth"] == two["truth"]
    assert len(one["detections"]) == len(two["detections"]) > 0
