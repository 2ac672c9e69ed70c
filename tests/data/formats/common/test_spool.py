from glip_pl.data.formats.common import spool
from glip_pl.data.formats.common.spool import Spool


def test_what_is_kept_in_a_file_is_walked_over_again_and_grows(monkeypatch):
    monkeypatch.setattr(spool, "_AT_ONCE", 2)
    kept = Spool.of(["a", None, ("b", 1)])

    assert [list(kept), list(kept), len(kept)] == [["a", None, ("b", 1)]] * 2 + [3]
    kept.append("c")
    assert list(kept) == ["a", None, ("b", 1), "c"]
