"""What several tests share: a plan of the demo that touches no images, and the reference corpus if it is there."""

import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent


def demo_config() -> dict:
    """The default configuration as plain data, fresh."""
    return yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


def make_plan(config: dict, raw: dict[str, str] | None = None, folder: Path = ROOT):
    """A plan whose raw folders have the digests given, and whose files hash to their names."""
    from tellsign.data.inventory import Images
    from tellsign.networks.catalogue import Catalogue
    from tellsign.networks.weights import WeightsCatalogue
    from tellsign.plan.plan import Plan

    catalogue = WeightsCatalogue(Catalogue(ROOT), folder / "weights", lambda p: p.name, folder)
    look = lambda roots, exclude, watch: {key: {"": Images(1, (raw or {}).get(key, "0"))} for key in roots}  # noqa: E731
    return Plan(config, look, lambda path: path.name, catalogue.find, folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of slow tests first, so that processes which share the files end at about the same time."""
    tests, slow = Counter(item.path for item in items), Counter[Path]()
    slow.update(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path] / tests[item.path])


@pytest.fixture(autouse=True)
def _subnormal_numbers_as_they_were():
    """Stages flush subnormal numbers to zero, for the whole process; no test may leave that to the next."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="module")
def state_every_epoch():
    """Trainings keep their state after every epoch, however short it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLSIGN_STATE_SECONDS", "0")
        yield


@pytest.fixture
def corpus() -> Path:
    """A small corpus of real and generated images beside the checkout."""
    folder = ROOT.parent / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip("needs the image corpus in ../shared/corpus, which is not part of this repository")
    return folder
