import codecs

import pytest

from glip_pl.data.formats.common.text_files import decode, read_lines, read_text, read_yaml_words


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_changes_nothing(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("Tür\r\nHut\r\n".encode(encoding))

    assert read_lines(tmp_path / "a.txt") == ["Tür", "Hut"]


def test_utf_16_of_either_order_is_read(tmp_path):
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        assert decode(mark + "é".encode(encoding)) == "é"


@pytest.mark.parametrize("encoding", ["gb2312", "GBK", "shift_jis", "latin-1"])
def test_a_declared_encoding_is_read(encoding):
    word = {"shift_jis": "帽子", "latin-1": "Tür"}.get(encoding, "安全帽")
    text = f'<?xml version="1.0" encoding="{encoding}"?><name>{word}</name>'

    assert word in decode(text.encode(encoding))


def test_bytes_of_an_unknown_encoding_are_refused_and_not_guessed(tmp_path):
    (tmp_path / "names.txt").write_bytes("Tür".encode("latin-1"))

    with pytest.raises(ValueError, match=r"names\.txt': it is not in UTF-8.*save it as UTF-8"):
        read_text(tmp_path / "names.txt")


@pytest.mark.parametrize(
    "word", ["no", "yes", "on", "null", "12:30", "1e3", "007", "~", "2024-1-1"]
)
def test_a_value_of_yaml_stays_the_word_it_is(tmp_path, word):
    (tmp_path / "a.yaml").write_text(f"names: [{word}]\n")

    assert read_yaml_words(tmp_path / "a.yaml") == {"names": [word]}


def test_a_yaml_of_brackets_alone_is_refused_in_one_line(tmp_path):
    (tmp_path / "a.yaml").write_text("a: " + "[" * 10_000)

    with pytest.raises(ValueError, match="nested too deep"):
        read_yaml_words(tmp_path / "a.yaml")


def test_a_yaml_whose_aliases_multiply_is_refused(tmp_path):
    lines = ["a0: &a0 [x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)
    ]
    (tmp_path / "a.yaml").write_text("\n".join(lines))

    with pytest.raises(ValueError, match="261 aliases"):
        read_yaml_words(tmp_path / "a.yaml")
