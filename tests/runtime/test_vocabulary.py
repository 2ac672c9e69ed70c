import numpy as np
import pytest

from glip_pl.runtime.vocabulary import EncodedChunk, Vocabulary

PACK = Vocabulary(
    ("cat", "Füchse"),
    np.array([0.3, 0.3], np.float32),
    (
        EncodedChunk(
            np.ones((4, 2), np.float32),
            np.eye(2, 4, dtype=bool),
            np.eye(2, 4, dtype=np.float32),
            np.array([0, 1]),
        ),
    ),
    "abc",
)


def test_a_pack_comes_back_as_it_was(tmp_path):
    PACK.save(tmp_path / "pack.npz")

    loaded = Vocabulary.load(tmp_path / "pack.npz")

    assert (loaded.names, loaded.encoder) == (PACK.names, "abc")
    assert np.array_equal(loaded.chunks[0].hidden, PACK.chunks[0].hidden)
    assert np.array_equal(loaded.chunks[0].positive_map, PACK.chunks[0].positive_map)
    assert np.array_equal(loaded.chunks[0].weights, PACK.chunks[0].weights)
    assert [path.name for path in tmp_path.iterdir()] == ["pack.npz"]


def test_each_name_has_a_threshold_of_its_own():
    changed = PACK.with_thresholds({"cat": 0.5})

    assert changed.thresholds.tolist() == pytest.approx([0.5, 0.3])


@pytest.mark.parametrize("thresholds", [{"dog": 0.5}, {"cat": 2.0}])
def test_a_threshold_that_does_not_suit_is_refused(thresholds):
    with pytest.raises(ValueError, match="does not suit the vocabulary"):
        PACK.with_thresholds(thresholds)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 garbage", b"[1]"])
def test_what_is_no_pack_is_refused(tmp_path, content):
    (tmp_path / "pack.npz").write_bytes(content)

    with pytest.raises(ValueError, match="no vocabulary pack"):
        Vocabulary.load(tmp_path / "pack.npz")
