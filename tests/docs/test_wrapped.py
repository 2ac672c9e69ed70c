"""Documentation can be read in a narrow window, and compared line by line."""

import pytest
from helpers import ROOT

# One line per change: branches that add to it are merged line by line.
LOG = ROOT / "CHANGELOG.md"
PAGES = sorted(
    page
    for folder, pattern in ((ROOT, "*.md"), (ROOT / "docs", "**/*.md"), (ROOT, "*/README.md"))
    for page in folder.glob(pattern)
    if page != LOG
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_is_wrapped_at_100_columns(page):
    # A row of a table is one line, whatever it holds.
    lines = [line for line in page.read_text().splitlines() if not line.lstrip().startswith("|")]

    assert [line for line in lines if len(line) > 100] == []
