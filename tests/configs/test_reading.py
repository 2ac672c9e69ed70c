import pytest

from glip_pl.cli import main
from glip_pl.configs.reading import MAX_DEPTH, check_yaml, read_yaml

# Nine aliases to nine aliases, twelve times: 9 ** 13 values of some hundred characters.
ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 13)
)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
def test_brackets_without_end_are_refused(text):
    with pytest.raises(ValueError, match=f"more than {MAX_DEPTH} levels"):
        check_yaml(text)


def test_aliases_of_aliases_are_refused_before_they_are_written_out():
    with pytest.raises(ValueError, match="stands for more than 100000 values"):
        check_yaml(ALIASES)


def test_a_few_aliases_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a [1, 2]\nb: *a\n")

    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, ALIASES.encode(), b"\xff\xfe\xfa", b"a: [1", b"a: {b: 1, c: [b, b], b: 2}"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "a.yaml").write_bytes(content)

    with pytest.raises(ValueError, match=r"cannot read '.*a\.yaml'"):
        read_yaml(tmp_path / "a.yaml")


def test_an_option_of_brackets_without_end_is_one_message(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["label", "--images=" + "[" * 100_000, "--prompt=cat", "--weights=a.ckpt"])

    assert stopped.value.code == 2
    assert "more than 50 levels" in capsys.readouterr().err
