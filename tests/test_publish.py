import pytest
from conftest import demo_config, make_plan

from tellsign.errors import UserError
from tellsign.sharing.publish import publish


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(plan, here, paper="mpft", name="table1"):
    folder = here / plan.table(paper, name).path
    folder.mkdir(parents=True)
    (folder / "table.md").write_text(folder.name)
    return folder.name


def test_results_follow_the_configuration_there_and_back(here):
    first = make_plan(demo_config())
    other = make_plan(demo_config() | {"evaluate": {"threshold": 0.4}})
    names = made(first, here), made(other, here)
    assert names[0] != names[1]
    shown = here / "results" / "demo" / "mpft" / "table1" / "table.md"
    for plan, name in ((first, names[0]), (other, names[1]), (first, names[0])):
        publish(plan, here / "results")
        assert shown.read_text() == name


def test_what_is_not_made_is_not_shown(here):
    first = make_plan(demo_config())
    made(first, here)
    assert "shows 1 of" in publish(first, here / "results")
    assert "shows 0 of" in publish(make_plan(demo_config() | {"evaluate": {"threshold": 0.4}}), here / "results")
    assert not (here / "results" / "demo" / "mpft" / "table1").is_symlink()


def test_links_are_relative_so_that_the_folder_can_be_moved(here):
    plan = make_plan(demo_config())
    made(plan, here)
    publish(plan, here / "results")
    assert str((here / "results" / "demo" / "mpft" / "table1").readlink()).startswith("../../../data/table/mpft/")


def test_a_folder_in_a_links_place_is_not_removed(here):
    plan = make_plan(demo_config())
    made(plan, here)
    (here / "results" / "demo" / "mpft" / "table1").mkdir(parents=True)
    with pytest.raises(UserError, match="is a folder, where a link"):
        publish(plan, here / "results")
    assert (here / "results" / "demo" / "mpft" / "table1").is_dir()


def test_each_configuration_keeps_its_folder(here):
    first, other = make_plan(demo_config()), make_plan(demo_config() | {"name": "mine", "banner": "mine"})
    names = made(first, here), made(other, here)
    assert names[0] != names[1]
    assert "results/demo/ shows 1 of" in publish(first, here / "results")
    assert "results/mine/ shows 1 of" in publish(other, here / "results")
    shown = [here / "results" / name / "mpft" / "table1" / "table.md" for name in ("demo", "mine")]
    assert [path.read_text() for path in shown] == list(names)
