"""What a machine must see before it may look at pictures."""

import pytest
from upath import UPath

from manylabel.preprocessing.executors.sight import sight
from manylabel.storage.atomic import TEMPORARY_PATTERN


@pytest.fixture
def places(tmp_path):
    images, plan = tmp_path / "images", tmp_path / "dataset" / "plan"
    for folder in (images, plan):
        folder.mkdir(parents=True)
    for number in range(30):
        (images / f"{number}.png").touch()
    return [UPath(images)], UPath(plan)


def test_a_machine_that_sees_all_lacks_nothing_and_nothing_stays(places):
    with sight(*places) as seen:
        assert seen.missing() is None
        seen.leave_mark("10.0.0.2")
        marks = list(places[1].glob(TEMPORARY_PATTERN))
        assert set(marks) == {seen.mark, seen.mark_of("10.0.0.2")}, "swept after a job that died"
        seen.mark_of("10.0.0.2").unlink()
    assert list(places[1].iterdir()) == []


def test_pictures_may_go_while_the_job_runs_but_not_all(places):
    with sight(*places) as seen:
        ((folder, entries),) = seen.images
        for picture in list(folder.iterdir()):
            if picture.name != entries[-1]:
                picture.unlink()
        assert seen.missing() is None
        (folder / entries[-1]).unlink()
        assert seen.missing() == f"does not see the pictures in {folder}"


def test_a_machine_must_see_the_pictures_of_both_catalogs(places, tmp_path):
    other = UPath(tmp_path / "held out")
    other.mkdir()
    (other / "1.png").touch()
    with sight([*places[0], other], places[1]) as seen:
        assert seen.missing() is None
        (other / "1.png").unlink()
        assert seen.missing() == f"does not see the pictures in {other}"


def test_another_folder_of_the_same_name_is_not_the_dataset(places):
    with sight(*places) as seen:
        seen.mark.unlink()
        assert seen.missing() == f"does not see the dataset in {places[1].parent}"
