"""What a wheel holds: setup.cfg is complete."""

from configparser import ConfigParser

from helpers import ROOT

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
