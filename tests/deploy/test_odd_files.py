"""What the exported graph makes of files with odd things beside their pixels."""

import pytest

from tests.preprocessing._odd_files import TURNED, UPRIGHT

pytestmark = pytest.mark.slow

FILES = {
    name: data
    for name, data in (UPRIGHT | TURNED).items()
    if name.startswith(("jpeg", "png")) and len(data) < 2_000_000
}


@pytest.fixture(scope="module")
def seen(see):
    return dict(zip(FILES, see([*FILES.values()]), strict=True))


@pytest.mark.parametrize("name", FILES)
def test_it_shows_them_as_training_saw_them_or_says_why_not(seen, name):
    found = seen[name]
    assert found.trained is not None
    assert found.fault or found.difference < 0.5
