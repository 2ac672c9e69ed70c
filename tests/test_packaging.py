"""What a wheel holds: setup.cfg is complete, and the one truth about the package."""

import re
import tomllib
from configparser import ConfigParser

from helpers import ROOT
from packaging.requirements import Requirement

SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def test_every_package_is_listed():
    inits = (ROOT / "src").rglob("__init__.py")
    found = {".".join(path.parent.relative_to(ROOT / "src").parts) for path in inits}

    listed = set(SETUP["options"]["packages"].split())
    # Folders without code are packages in a wheel alone.
    assert listed == found | {
        "fusion_plugins",
        "glip_pl.configs.data",
        "glip_pl.configs.data.sources",
    }


def test_every_yaml_of_a_configuration_is_packaged():
    patterns = SETUP["options.package_data"]["glip_pl.configs"].replace(" ", "").split(",")
    folder = ROOT / "src/glip_pl/configs"

    packaged = {path for pattern in patterns for path in folder.glob(pattern)}
    assert packaged == set(folder.rglob("*.yaml"))


def requirements():
    extras = SETUP["options.extras_require"].values()
    listed = "\n".join([SETUP["options"]["install_requires"], *extras])
    return [Requirement(line) for line in listed.splitlines() if line.strip()]


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_lock_files_pin_every_requirement_at_a_version_that_it_allows():
    files = (ROOT / "requirements.lock", ROOT / "requirements-small.lock")
    lines = [line for file in files for line in file.read_text().splitlines()]
    pins = [line.split(";")[0].strip().split("==") for line in lines if "==" in line]
    pinned = {plain(name): version for name, version in pins}

    lacking = [
        str(asked)
        for asked in requirements()
        if not asked.specifier.contains(pinned.get(plain(asked.name), "0.dev0"), prereleases=True)
    ]

    assert lacking == []


def test_a_requirement_has_a_floor_and_no_ceiling():
    operators = {part.operator for asked in requirements() for part in asked.specifier}

    # != leaves out releases that are known to be bad.
    assert operators <= {">=", "!="}


def test_no_other_file_describes_the_package():
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert "project" not in described
    assert not (ROOT / "setup.py").exists()


def test_the_oldest_python_is_the_same_everywhere():
    (oldest,) = re.findall(r">=(3\.\d+)$", SETUP["options"]["python_requires"])
    classifiers = SETUP["metadata"]["classifiers"]
    versions = [v for v in re.findall(r":: (3\.\d+)$", classifiers, re.MULTILINE)]
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()

    assert versions[0] == oldest
    assert f"Python {oldest} or newer" in (ROOT / "README.md").read_text()
    assert [f'"{version}"' in workflow for version in versions] == [True] * len(versions)
