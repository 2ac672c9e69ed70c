"""`glip label --captions`: from photos with sentences to data that `glip fit` trains on."""

import io
import json
import re
import tarfile

import numpy as np
import pytest
import yaml
from helpers import write_image
from models import random_weights, write_checkpoint
from PIL import Image

from glip_pl.cli import main
from glip_pl.data import PhraseGrounding
from glip_pl.teaching.sources import caption_beside, captioned_shards

SURE = ["--keep=0.3", "--ignore=0.2", "--device=cpu", "--shard_size=2", "--num_workers=0"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("teacher") / "m.ckpt", random_weights())


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    captions = ["a red circle", "a blue square and no circle", "it is nice", "a triangle", "a cat"]
    lines = []
    for k, caption in enumerate(captions):
        write_image(folder / f"{k}.png", 60, 80, seed=k)
        lines.append(f"photos/{k}.png\t{caption}\n")
    lines.append("photos/0.png\tthe circle\n")
    (folder / "5.png").write_bytes((folder / "0.png").read_bytes())
    lines.append("photos/5.png\ta copy\n")
    (tmp_path / "captions.tsv").write_text("".join(lines))
    return tmp_path


def teach(photos, weights, name, *more):
    output = photos / name
    source = f"--images=[{photos / 'captions.tsv'}]"
    main(
        ["label", source, "--captions", f"--weights={weights}", f"--output={output}", *SURE, *more]
    )
    return output


def test_captions_become_a_set_to_train_on(photos, weights, capsys):
    output = teach(photos, weights, "taught")

    manifest = json.loads((output / "manifest.json").read_text())
    lines = [json.loads(line) for line in (output / "lessons.jsonl").read_text().splitlines()]
    described = yaml.safe_load((output / "data.yaml").read_text())["data"]["train"][0]["init_args"]
    assert manifest["images"] == len(lines) == 5
    assert manifest["left_out"] == {
        "caption without a noun phrase": 1,
        "image that came before, or nearly": 1,
    }
    assert {line["teacher"]["weights"] for line in lines} == {manifest["teacher"]["weights"]}
    assert "circle" not in {r["phrase"] for r in lines[1]["grounding"]["regions"]}
    assert described["annotations"] == "lessons.jsonl"
    assert "glip fit" in capsys.readouterr().out
    with Image.open(output / "samples.jpg") as sheet:
        assert min(sheet.size) > 400


def test_asked_twice_the_lines_say_so(photos, weights):
    output = teach(photos, weights, "twice", "--ensemble")

    lines = [json.loads(line) for line in (output / "lessons.jsonl").read_text().splitlines()]
    assert lines
    assert all(line["teacher"]["ensemble"] for line in lines)


def test_the_set_is_read_with_the_images_where_they_lie(photos, weights):
    output = teach(photos, weights, "elsewhere/taught")

    described = yaml.safe_load((output / "data.yaml").read_text())["data"]
    taught = PhraseGrounding(**described["train"][0]["init_args"])
    taught.load(output, training=True)

    assert (len(taught.records), taught.problems) == (5, {})


def test_any_number_of_processes_teaches_the_same(photos, weights):
    alone = teach(photos, weights, "alone")
    for rank in (1, 0):
        shared = teach(photos, weights, "shared", f"--rank={rank}", "--world=2")

    assert (shared / "lessons.jsonl").read_bytes() == (alone / "lessons.jsonl").read_bytes()
    assert (shared / "manifest.json").read_bytes() == (alone / "manifest.json").read_bytes()


def test_boxes_are_judged_where_people_drew_some(photos, weights, capsys):
    truth = {
        "images": [{"id": 1, "file_name": "photos/0.png", "height": 60, "width": 80}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 50, 50], "area": 2500}
        ],
        "categories": [{"id": 1, "name": "circle"}],
    }
    (photos / "truth.json").write_text(json.dumps(truth))

    output = teach(photos, weights, "judged", f"--truth={photos / 'truth.json'}")

    bins = json.loads((output / "manifest.json").read_text())["precision"]
    assert sum(found["boxes"] for found in bins) > 0
    assert "boxes right" in capsys.readouterr().out


def test_captions_are_read_beside_images_also_in_tar_files(tmp_path):
    write_image(tmp_path / "a/1.jpg", 20, 30)
    (tmp_path / "a/1.txt").write_text("a dog\n")
    png = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(png, "PNG")
    with tarfile.open(tmp_path / "a/s.tar", "w") as tar:
        for name, content in (("2.png", png.getvalue()), ("2.json", b'{"caption": "a cat"}')):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

    items = [i for shard in captioned_shards([str(tmp_path / "a")], 10) for i in shard.items]

    assert [caption_beside(item.path) for item in items] == ["a dog", "a cat"]
    assert caption_beside(str(tmp_path / "none.png")) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--captions", "--prompt=cat"], "--prompt does not go with --captions"),
        (["--captions", "--formats=[coco]"], "--formats does not go with --captions"),
        (["--captions", "--threshold=0.4"], "--threshold does not go with --captions"),
        (["--ensemble", "--prompt=cat"], "--ensemble goes with --captions"),
        (["--truth=t.json", "--prompt=cat"], "--truth goes with --captions"),
        ([], "--prompt=.* is needed, or --captions"),
        (["--captions", "--ignore=0.9"], "--ignore=0.9 and --keep=0.5 must rise"),
    ],
)
def test_what_does_not_go_together_is_refused(photos, weights, capsys, options, message):
    source = f"--images={photos / 'captions.tsv'}"
    with pytest.raises(SystemExit):
        main(["label", source, f"--weights={weights}", f"--output={photos / 'o'}", *options])

    assert re.search(message, capsys.readouterr().err)


def test_a_set_that_teaches_nothing_says_why(photos, weights, capsys):
    (photos / "captions.tsv").write_text("photos/0.png\tit is nice\n")

    with pytest.raises(SystemExit):
        teach(photos, weights, "nothing")

    assert "no image teaches anything: 1 caption without a noun phrase" in capsys.readouterr().err
