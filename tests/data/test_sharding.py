import json

import pytest
import yaml
from helpers import FakeTokenizer, write_coco, write_image

from glip_pl.cli import main
from glip_pl.data.descriptors import read_descriptor

CAPTION = "a man and a dog"


def write_captions(root, file, images):
    """Write MDETR's JSON of three captions, whose boxes a detector drew with rising scores."""
    size = {"height": 40, "width": 60}
    for k in range(3):
        write_image(root / images / f"{k}.png", 40, 60)
    link = {"bbox": [1, 2, 10, 20], "tokens_positive": [[0, 5]]}
    document = {
        "images": [
            {"id": k, "file_name": f"{k}.png", "caption": CAPTION, **size} for k in range(3)
        ],
        "annotations": [{"id": k, "image_id": k, "score": 0.4 + k / 10, **link} for k in range(3)],
    }
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(document))


def pretraining_data(root):
    """Lay out a little of what data/pretrain_t.yaml expects."""
    boxes = {f"{k}.png": [(1, (1, 2, 10, 20))] for k in range(3)}
    write_coco(root / "o", boxes, names={1: "cat", 2: "dog"})
    for old, new in (
        ("images", "objects365/train"),
        ("annotations/train.json", "objects365/objects365_train.json"),
    ):
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / "o" / old).rename(root / new)
    folder = "mdetr_annotations"
    write_captions(
        root, f"{folder}/final_flickr_separateGT_train.json", "flickr30k/flickr30k_images"
    )
    write_captions(root, f"{folder}/final_mixed_train_no_coco.json", "gqa/images")
    write_captions(root, "captions/annotations.json", "captions/images")
    return root


def test_detection_grounding_and_captions_train_as_one_stream(tmp_path, capsys):
    root = pretraining_data(tmp_path / "data")

    main(["data", "shards", "pretrain_t", str(tmp_path / "shards"), f"--root={root}"])

    data = read_descriptor(str(tmp_path / "shards" / "data.yaml"))
    data.batch_size = 1
    data.val.clear()  # Of which nothing is there.
    data.setup("fit")
    data.connect(FakeTokenizer(256))
    captions = [q.prompt.caption for batch in data.train_dataloader() for q in batch.questions]
    assert len(captions) == 3 + 3 + 3 + 3
    assert {CAPTION in caption for caption in captions} == {True, False}
    assert data.class_names == ["cat", "dog"]
    assert "3 images, 3 boxes, 3 captions" in capsys.readouterr().out


def test_what_is_written_already_stays_and_the_rest_is_written(tmp_path, capsys):
    root = pretraining_data(tmp_path / "data")
    arguments = ["data", "shards", "pretrain_t", str(tmp_path / "shards"), f"--root={root}"]
    main(arguments)
    (tmp_path / "shards/1_final_flickr_separateGT_train/info.json").unlink()
    (tmp_path / "shards/data.yaml").unlink()
    capsys.readouterr()

    main(arguments)

    assert capsys.readouterr().out.count("there already") == 4
    written = yaml.safe_load((tmp_path / "shards/data.yaml").read_text())
    assert written["data"]["sampling"]["stream"] is True


def test_a_stream_cannot_sort_and_is_told_so(tmp_path, capsys):
    write_coco(tmp_path, {"a.png": [(1, (1, 2, 10, 20))]}, names={1: "cat"})
    train = [
        {
            "class_path": "glip_pl.data.CategoryDetection",
            "init_args": {"annotations": "annotations/train.json"},
        }
    ]
    described = {"root": str(tmp_path), "train": train, "val": {}, "test": {}}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"data": {**described, "sampling": {"group_by_aspect": True}}}))

    main(["data", "shards", str(file), str(tmp_path / "shards")])

    assert "left out: data.sampling.group_by_aspect" in capsys.readouterr().out
    read_descriptor(str(tmp_path / "shards/data.yaml")).setup("fit")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"train": []}, "has no training set"), ({"stream": True}, "is streamed already")],
)
def test_what_cannot_be_written_as_shards_is_refused(tmp_path, capsys, change, complaint):
    train = [
        {"class_path": "glip_pl.data.CategoryDetection", "init_args": {"annotations": "a.json"}}
    ]
    described = {"root": str(tmp_path), "train": train, "val": {}, "test": {}}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"data": {**described, **change}}))

    with pytest.raises(SystemExit):
        main(["data", "shards", str(file), str(tmp_path / "shards")])

    assert complaint in capsys.readouterr().err
