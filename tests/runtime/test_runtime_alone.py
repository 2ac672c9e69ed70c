import subprocess
import sys

import pytest

from glip_pl.runtime import Runtime


def test_the_runtime_imports_no_torch():
    code = "import sys, glip_pl.runtime; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no exported model: it lacks description\.json"):
        Runtime(tmp_path)
