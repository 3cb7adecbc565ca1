"""Settings: files, presets, overrides, and what is said about wrong ones."""

import re

import pytest
import yaml

from manylabel.pipeline.config import (
    Settings,
    dump_settings,
    eval_settings,
    load_settings,
    preset_names,
    preset_path,
)
from manylabel.pipeline.errors import SettingsError
from manylabel.trainer.networks.config import InceptionV3Config, ResNetConfig
from manylabel.trainer.plane.optimizers import RMSprop

MINIMAL = "preprocessing: {catalog: {path: images.csv}}\n"


@pytest.fixture
def settings_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(MINIMAL)
    return path


RECIPES = [
    "imagenet-inception-v3",
    "imagenet-xception",
    "jft-inception-v3",
    "jft-xception",
    "open-images-v2-resnet",
]


@pytest.mark.parametrize("name", ["demo", *RECIPES])
def test_a_preset_is_valid_and_reads_back_as_it_was_dumped(name, tmp_path):
    settings = load_settings(name)
    copy = tmp_path / "resolved.yaml"
    copy.write_text(dump_settings(settings))
    assert load_settings(str(copy)) == settings


def test_those_are_all_presets():
    assert preset_names() == ["demo", *RECIPES]


def test_the_papers_recipes():
    """Values from the paper (arXiv 1610.02357), not from the presets."""
    jft = load_settings("jft-xception").trainer
    assert (jft.optimizer.name, jft.optimizer.momentum) == ("rmsprop", 0.9)
    assert (jft.schedule.learning_rate, jft.schedule.decay_rate) == (0.001, 0.9)
    assert jft.schedule.decay_every == 3_000_000
    assert (jft.l2, jft.model.dropout, jft.model.fully_connected) == (1e-5, 0.0, ())
    assert (jft.topology.workers, jft.loss.kind) == (60, "sigmoid")
    iterations = jft.epochs * 350e6 / jft.input.batch_size
    assert iterations == pytest.approx(30e6, rel=1e-3)

    imagenet = load_settings("imagenet-xception").trainer
    assert (imagenet.optimizer.name, imagenet.optimizer.momentum) == ("sgd", 0.9)
    assert (imagenet.schedule.learning_rate, imagenet.schedule.decay_rate) == (0.045, 0.94)
    assert imagenet.schedule.at(samples=2 * 1_281_167 - 1, steps=0) == 0.045
    assert imagenet.schedule.at(samples=2 * 1_281_167, steps=0) == pytest.approx(0.045 * 0.94)
    assert (imagenet.l2, imagenet.model.dropout) == (1e-5, 0.5)
    assert (imagenet.updates.name, imagenet.topology.workers) == ("synchronous", 60)
    assert jft.updates.name == "asynchronous"
    parameters = 20_861_480 + 2049 * 17_000  # Chollet's network without its head, and the head.
    state = 4 * parameters * (2 + len(jft.optimizer.new_slots(0)))  # Weights, average, slots.
    assert jft.checkpoints.keep is not None
    assert jft.checkpoints.keep * state < 20e9  # All 96 would be 85 GB.


@pytest.mark.parametrize("data", ["jft", "imagenet"])
def test_the_baseline_is_trained_as_xception_but_for_its_decay(data):
    """Paper, 4.2 and 4.3."""
    xception = load_settings(f"{data}-xception").trainer
    inception = load_settings(f"{data}-inception-v3").trainer
    assert isinstance(inception.model, InceptionV3Config)
    assert inception.model.variant == "2016"
    assert (inception.model.input_size, inception.l2) == (299, 4e-5)
    assert inception.model.dropout == xception.model.dropout
    without = {"model", "l2"}
    assert inception.model_dump(exclude=without) == xception.model_dump(exclude=without)


def test_the_recipe_of_open_images():
    """Values from the file beside the model of Open Images V2, not from the preset."""
    trainer = load_settings("open-images-v2-resnet").trainer
    assert isinstance(trainer.model, ResNetConfig)
    assert sum(trainer.model.blocks) * 3 + 2 == 101
    assert isinstance(trainer.optimizer, RMSprop)
    assert (trainer.optimizer.rho, trainer.optimizer.momentum) == (0.9, 0.9)
    assert trainer.optimizer.epsilon == 1.0
    assert trainer.schedule.at(samples=0, steps=552_344) == 0.045
    assert trainer.schedule.at(samples=0, steps=552_345) == pytest.approx(0.045 * 0.94)
    assert (trainer.topology.workers, trainer.updates.name) == (50, "asynchronous")
    steps = trainer.epochs * 9_011_219 / trainer.input.batch_size
    assert steps == pytest.approx(61_995_903, rel=1e-3)


@pytest.mark.parametrize("name", RECIPES)
def test_a_paper_preset_gives_the_source_of_its_training_values(name):
    """Each value has its source on its line, or on the lines around it for a group."""
    text = preset_path(name).read_text("utf-8")
    trainer = text[text.index("\ntrainer:") : text.index("\neval:")]
    sources = re.compile(
        r"# .*(Paper|Open|Ours|V2|ResNet|VGG|Szegedy|TF|[Aa]s in|32/255|[Ee]very 2|\.\.\.)"
    )
    unexplained = []
    group = False  # whether the section's own line gave a source
    for line in trainer.splitlines():
        if line.endswith(":") or re.match(r" +[a-z_]+: +# ", line):
            group = bool(sources.search(line)) or (group and line.startswith("      "))
        elif not (line.strip().startswith("#") or sources.search(line) or group):
            unexplained.append(line.strip())
    assert {line.partition("#")[0].strip() for line in unexplained if line} <= {
        "name: xception",
        "name: synchronous",
        "unit: samples",
        "gpus_per_worker: 1",
        "unit: steps",
        "keep: null",
    }
    source = "V2|ResNet" if name.startswith("open-images") else "Paper, "
    assert len(re.findall(rf"# ({source})", trainer)) >= 12
    assert trainer.count("Open") >= 8


def test_what_is_left_out_has_its_default(settings_file):
    assert load_settings(str(settings_file)) == Settings.model_validate(yaml.safe_load(MINIMAL))


def test_overrides_are_yaml_and_the_last_one_wins(settings_file):
    overrides = [
        "trainer.schedule.learning_rate=0.5",
        "trainer.schedule.learning_rate=1e-3",
        "trainer.model.fully_connected=[8, 4]",
        "eval.weights={kind: csv, csv: weights.csv}",
        "preprocessing.catalog.group_column=author=owner",
    ]
    settings = load_settings(str(settings_file), overrides)
    assert settings.trainer.schedule.learning_rate == 0.001
    assert settings.trainer.model.fully_connected == (8, 4)
    assert settings.eval.weights.csv == "weights.csv"
    assert settings.preprocessing.catalog.group_column == "author=owner"


@pytest.mark.parametrize("signs", ["|", "*", ",", " ", ";", "||", "-", "\t"])
def test_an_override_of_signs_alone_is_a_text(settings_file, signs):
    """Most of them mean something to YAML, or are an error."""
    overrides = [f"preprocessing.catalog.label_separator={signs}"]
    settings = load_settings(str(settings_file), overrides)
    assert settings.preprocessing.catalog.label_separator == signs


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("trainer.schedule.learning_rat=1", "unknown setting; did you mean learning_rate"),
        ("trainer.schedule.learning_rate=abc", "expected a valid number, received 'abc'"),
        ("trainer.schedule.learning_rate=-1", "expected greater than 0, received -1"),
        ("trainer.optimizer={name: rmsprop, roh: 1}", "trainer.optimizer.roh: unknown setting"),
        ("trainer.optimizer={name: adam}", "expected 'name' 'rmsprop' or 'sgd', received 'adam'"),
        ("trainer.optimizer={rho: 0.5}", "expected its 'name', received none"),
        ("preprocessing.heldout={size: [1]}", "preprocessing.heldout.size: expected"),
        ("trainer.model={name: vgg16, residual: false}", "residual: unknown setting; expected one"),
        ("trainer.model.width=.inf", "trainer.model.width: expected a finite number"),
        ("trainer.epochs=.inf", "trainer.epochs: expected a finite number"),
        ("trainer.epochs.x=1", "--set trainer.epochs.x=1: trainer.epochs is 3, which holds no"),
        (
            "trainer.model.head_bias=priro",
            "trainer.model.head_bias: expected prior, zero or a number from -100 to 100, received "
            "'priro'",
        ),
        ("trainer.model.head_bias=off", "prior, zero or a number from -100 to 100, received False"),
        ("trainer.model.head_bias=.nan", "zero or a number from -100 to 100, received nan"),
        ("trainer.model.head_bias=1e39", "zero or a number from -100 to 100, received '1e39'"),
        ("trainer.model.head_bias=", "zero or a number from -100 to 100, received None"),
        ("trainer.model.head_bias={prior: 1}", "-100 to 100, received {'prior': 1}"),
        ("trainer.model.fully_connected=[8, -1]", "fully_connected.1: expected greater than 0"),
        ("preprocessing.heldout.size=abc", "heldout.size: expected a valid number, received"),
        ("preprocessing.catalog={}", "preprocessing.catalog.path: expected a value, received none"),
        ("preprocessing.catalog.label_columns=[*]", "not valid YAML in line 1, column 3"),
        ("preprocessing.catalog.label_columns=[*]", "put texts in double quotes, and all of it in"),
        ("trainer=3", "trainer: expected a section of keys and values, received 3"),
        ("eval.precision_at=[1, 200]", "needs 200 predictions an image, received k=100"),
        ("traner.epochs=3", "traner: unknown setting; did you mean trainer"),
        ("trainer.epochs", "--set trainer.epochs: expected section.key=value"),
        ("=3", "--set =3: expected section.key=value"),
        ("trainer..epochs=3", "expected section.key=value"),
        ("trainer.epochs=[1", "not valid YAML"),
        ("trainer.model={width: 1, width: 2}", "width is set twice"),
    ],
)
def test_a_wrong_override_is_told_in_one_line(settings_file, override, problem):
    overrides = ["trainer.epochs=3", override]
    with pytest.raises(SettingsError, match=re.escape(problem)) as caught:
        load_settings(str(settings_file), overrides)
    assert "\n" not in str(caught.value)


def test_each_problem_has_its_line_with_the_file(settings_file):
    overrides = ["trainer.epochs=0", "eval.k=abc"]
    with pytest.raises(SettingsError) as caught:
        load_settings(str(settings_file), overrides)
    assert str(caught.value).splitlines() == [
        f"{settings_file} with --set: trainer.epochs: expected greater than 0, received 0",
        f"{settings_file} with --set: eval.k: expected a valid integer, received 'abc'",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "expected the sections preprocessing, trainer, eval, received None"),
        (b"- a\n", "expected the sections"),
        (b"trainer: {epochs: [\n", "not valid YAML in line"),
        (b"trainer: {}\ntrainer: {}\n", "line 2: trainer is set twice, first in line 1"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_file_that_is_no_settings_file(tmp_path, content, problem):
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=problem) as caught:
        load_settings(str(path))
    assert str(path) in str(caught.value)


def test_a_missing_file_names_the_presets(tmp_path):
    with pytest.raises(SettingsError, match="presets demo, imagenet-inception-v3"):
        load_settings(str(tmp_path / "nothing.yaml"))
    with pytest.raises(SettingsError, match="it is a folder"):
        load_settings(str(tmp_path))


def test_a_file_wins_over_a_preset_of_its_name(tmp_path, monkeypatch):
    (tmp_path / "demo").write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)
    assert load_settings("demo").preprocessing.catalog.path == "images.csv"


@pytest.mark.parametrize(
    ("text", "k"),
    [
        ("trainer: {epochs: 2}", 100),  # Of a script that gave the settings of training alone.
        ("preprocessing: {gone: longer}\ntrainer: {}\neval: {k: 50}", 50),
    ],
)
def test_an_evaluation_reads_its_own_section_of_what_a_run_keeps(tmp_path, text, k):
    stored = tmp_path / "config.yaml"
    stored.write_text(text)
    assert eval_settings(run_settings=stored).k == k
    assert eval_settings(["eval.k=20"], stored).k == 20


@pytest.mark.parametrize(("overrides", "place"), [([], ""), (["eval.k=5"], " with --set")])
def test_what_is_wrong_in_what_a_run_keeps_is_told_with_its_file(tmp_path, overrides, place):
    stored = tmp_path / "config.yaml"
    stored.write_text("eval: {kk: 50}")
    with pytest.raises(SettingsError, match=rf"^{stored}{place}: eval\.kk"):
        eval_settings(overrides, stored)
