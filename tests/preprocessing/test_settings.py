"""Every setting changes what is written: each is changed alone, on a catalog where it matters."""

import io
import tarfile

import pytest
from PIL import Image

from manylabel.preprocessing.config import PreprocessingConfig, RunnerConfig
from manylabel.preprocessing.errors import PreprocessingError
from manylabel.preprocessing.job import preprocess

pytestmark = pytest.mark.slow

HEADER = (
    *("image_path", "label", "confidence", "other_path", "other_label", "certainty", "author"),
    *("part", "other_part", "round", "square"),
)

NEAR = {"heldout": {"size": 6}}
PART = {"catalog": {"split_column": "part", "split": "train"}}
OPEN_IMAGES = {"catalog": {"path": "open_images.csv", "format": "open_images"}}
ML_IMAGES = {"catalog": {"path": "ml_images.txt", "format": "ml_images"}, "heldout": {"size": 1}}
WIDE = {"catalog": {"label_columns": ["round", "square"]}}
TAR = {"catalog": {"path": "samples.tar"}}

CHANGES = [
    # setting, another value, what else is set in both runs
    ("catalog.path", "fewer.csv", {}),
    ("catalog.format", "parquet", {}),
    ("catalog.delimiter", ";", {}),
    ("catalog.header", False, {}),
    ("catalog.image_root", "reduced", {}),
    ("catalog.image_column", "other_path", {}),
    ("catalog.label_column", "other_label", {}),
    ("catalog.label_separator", " ", {}),
    ("catalog.label_columns", ["round", "square"], {}),
    ("catalog.label_cells", "names", WIDE),
    ("catalog.label_zeros", "absent", WIDE),
    ("catalog.null_values", ["0.5"], WIDE),
    ("catalog.confidence_column", "certainty", {}),
    ("catalog.group_column", "author", NEAR),
    ("catalog.split_column", "other_part", PART),
    ("catalog.split", "test", PART),
    ("catalog.image_suffix", ".png", {}),
    ("catalog.http", {}, {}),
    ("catalog.webdataset.picture", "reduced.png", TAR),
    ("catalog.webdataset.labels", "txt", TAR),
    ("catalog.webdataset.label_key", "names", TAR),
    ("catalog.open_images", {"image_name": "{id}.png"}, OPEN_IMAGES),
    ("catalog.ml_images", {"dictionary": "names.txt"}, ML_IMAGES),
    ("images.short_side_limit", 40, {}),
    ("images.resampling", "area", {"images": {"short_side_limit": 40}}),
    ("images.jpeg_quality", 50, {}),
    ("images.max_pixels", 4000, {}),
    ("images.max_bytes", 6000, {}),
    ("images.min_side", 51, {}),
    ("images.max_aspect_ratio", 1.1, {}),
    ("labels.minimum_count", 9, {}),
    ("heldout.catalog", {"path": "fewer.csv"}, {"heldout": {"size": 0.1}}),
    ("heldout.size", 8, {}),
    ("heldout.minimum_labels", 3, {}),
    ("heldout.duplicate_distance", None, NEAR),
    ("heldout.salt", "another", {}),
    ("heldout.largest_group", 1, NEAR),
    ("shards.images_per_shard", 5, {}),
    ("shards.bytes_per_shard", 4000, {}),
]


def fields(model, prefix=""):
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from fields(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_no_setting_is_forgotten():
    """How the job runs must change nothing; tests/integration shows that."""
    running = {"executor", *(f"runner.{name}" for name in RunnerConfig.model_fields)}
    listed = {setting for setting, _, _ in CHANGES} | running
    assert listed == set(fields(PreprocessingConfig))


@pytest.fixture(scope="module")
def directory(tmp_path_factory, picture, write_csv):
    root = tmp_path_factory.mktemp("settings")
    (root / "reduced").mkdir()
    rows = []
    for number in range(16):
        small = Image.open(io.BytesIO(picture(number % 12)))
        image = small.resize((60 + number // 12 * 30, 50 + number // 12 * 25))
        image.save(root / f"{number}.png")
        image.resize((55, 52)).save(root / "reduced" / f"{number}.png")
        labels = ["all", f"half {number % 2}", *(["once"] if number == 3 else [])]
        rows += [
            (
                *(f"{number}.png", label, 1, f"{number // 2}.png", label.upper(), 0.5),
                *(number // 4, "train" if number < 12 else "test"),
                *("train" if number < 6 else "test", 0.5, number % 2),
            )
            for label in labels
        ]
    write_csv(root / "labels.csv", rows, HEADER)
    judged = [(number, "human", "/m/0jbk", 1) for number in range(6)]
    write_csv(root / "open_images.csv", judged, ("ImageID", "Source", "LabelName", "Confidence"))
    (root / "ml_images.txt").write_text("0.png\t0:1\n1.png\t0:1\n2.png\t0:0.9\n")
    (root / "names.txt").write_text("n00002452\t-1\tthing\n")
    write_csv(root / "fewer.csv", rows[:20], HEADER)
    with tarfile.open(root / "samples.tar", "w") as tar:
        for number in range(4):
            tar.add(root / f"{number}.png", f"{number}.png")
            tar.add(root / "labels.csv", f"{number}.cls")
    return root


@pytest.fixture(scope="module")
def outcome(directory, dataset_bytes, tmp_path_factory):
    """What a run gives: all bytes, or its error; each distinct run is made once."""
    known = {}

    def run(settings):
        config = PreprocessingConfig.model_validate(settings)
        key = config.model_dump_json()
        if key not in known:
            output = tmp_path_factory.mktemp("run") / "dataset"
            try:
                preprocess(config, str(output))
            except PreprocessingError as error:
                known[key] = str(error)
            else:
                known[key] = dataset_bytes(output)
        return known[key]

    return run


def merged(*several):
    result = {"catalog": {"path": "labels.csv"}, "heldout": {"size": 4}, "executor": "inline"}
    for settings in several:
        for section, values in settings.items():
            result[section] = result.get(section, {}) | values
    return result


@pytest.mark.parametrize(("setting", "value", "besides"), CHANGES)
def test_a_changed_setting_changes_the_dataset(
    setting, value, besides, outcome, directory, monkeypatch
):
    monkeypatch.chdir(directory)
    section, *names = setting.split(".")
    before = outcome(merged(besides))
    for name in reversed(names):
        value = {name: value}
    after = outcome(merged(besides, {section: value}))
    assert before != after
