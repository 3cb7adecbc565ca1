"""The settings of a network: a choice by name, Xception where there is none."""

import pytest
from pydantic import TypeAdapter, ValidationError

from manylabel.storage.problems import problems
from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.networks.backbone_config import Backbone, KerasApplicationsConfig, family
from manylabel.trainer.networks.config import (
    InceptionV3Config,
    InceptionVariant,
    ModelConfig,
    ResNetConfig,
    VGG16Config,
    VGGSeparableConfig,
    XceptionConfig,
)
from manylabel.trainer.networks.head_config import HeadBias

ADAPTER = TypeAdapter(ModelConfig)
KINDS = {
    "xception": XceptionConfig,
    "inception_v3": InceptionV3Config,
    "vgg_separable": VGGSeparableConfig,
    "vgg16": VGG16Config,
    "resnet": ResNetConfig,
    "keras_applications": KerasApplicationsConfig,
}
FORMS = [
    {"name": name, **({"backbone": "ResNet50"} if name == "keras_applications" else {})}
    for name in KINDS
]


def told(tree):
    """What the user reads of wrong settings."""
    with pytest.raises(ValidationError) as caught:
        TrainerConfig.model_validate(tree)
    return problems(caught.value, tree, TrainerConfig)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form["name"])
def test_each_network_has_its_settings_and_can_be_written_down(form):
    config = ADAPTER.validate_python(form)
    assert type(config) is KINDS[form["name"]]
    assert (config.name, config.head_bias) == (form["name"], HeadBias.PRIOR)
    assert 0 < config.batch_norm_momentum < 1
    assert config.input_size in (224, 299)
    assert ADAPTER.validate_json(config.model_dump_json()) == config


def test_settings_without_a_name_are_xceptions():
    assert TrainerConfig().model == XceptionConfig()
    assert TrainerConfig.model_validate({"model": {}}).model == XceptionConfig()
    assert TrainerConfig.model_validate({"model": {"width": 0.5}}).model == XceptionConfig(
        width=0.5
    )


def test_each_network_has_its_own_l2_where_none_is_given():
    def l2(**tree):
        return TrainerConfig.model_validate(tree).l2

    assert l2() == l2(model={"name": "xception"}) == 1e-5
    assert l2(model={"name": "inception_v3"}) == 4e-5
    assert l2(model={"name": "inception_v3"}, l2=1e-5) == 1e-5
    assert l2(model={"name": "vgg16"}) == 2.5e-4
    assert l2(model={"name": "resnet"}) == 5e-5
    written = TrainerConfig.model_validate({"model": {"name": "inception_v3"}}).model_dump()
    assert written["l2"] == 4e-5, "a run's description says it"


def test_a_year_is_a_number_to_yaml():
    for year in (2016, "2016"):
        config = ADAPTER.validate_python({"name": "inception_v3", "variant": year})
        assert isinstance(config, InceptionV3Config)
        assert config.variant is InceptionVariant.AUGUST_2016


@pytest.mark.parametrize("backbone", Backbone)
def test_a_backbone_has_its_own_momentum_unless_told(backbone):
    form = {"name": "keras_applications", "backbone": backbone}
    assert ADAPTER.validate_python(form).batch_norm_momentum == family(backbone).batch_norm_momentum
    assert ADAPTER.validate_python({**form, "batch_norm_momentum": 0.5}).batch_norm_momentum == 0.5


def test_families_are_told_apart_though_their_names_begin_alike():
    assert family("ResNet50V2") != family("ResNet50")
    assert len({family(f"MobileNet{version}") for version in ("", "V2", "V3Small")}) == 3
    with pytest.raises(LookupError):
        family("EfficientNetB0")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"name": "inception"}, "model: expected 'name' 'xception' or 'inception_v3'"),
        ({"widht": 1}, "model.widht: unknown setting; did you mean width?"),
        ({"name": "vgg16", "widht": 1}, "model.widht: unknown setting; did you mean width?"),
        ({"name": "vgg16", "middle_repeats": 1}, "model.middle_repeats: unknown setting"),
        ({"name": "inception_v3", "variant": 2015}, "model.variant: expected 'keras' or '2016'"),
        ({"name": "inception_v3", "input_size": 74}, "model: input_size=74 leaves no pixels"),
        ({"name": "resnet", "blocks": [1, 2, 3]}, "model.blocks.3: expected a value"),
        ({"name": "keras_applications"}, "model.backbone: expected a value"),
        (
            {"name": "keras_applications", "backbone": "ResNet51"},
            "model.backbone: expected 'ConvNeXtTiny',",
        ),
        (
            {"name": "keras_applications", "backbone": "InceptionResNetV2", "input_size": 74},
            "model: input_size=74 leaves no pixels in InceptionResNetV2; expected 75",
        ),
        ({"segments": 0}, "model.segments: expected all or a whole number from 1, received 0"),
        ({"segments": True}, "model.segments: expected all or a whole number from 1, received T"),
        ({"segments": "some"}, "model.segments: expected all or a whole number from 1, received"),
        ({"segments": 4, "depth_multiplier": 2}, "model: depth_multiplier=2 is for segments=all"),
    ],
)
def test_wrong_settings_are_told_in_a_line(model, expected):
    (line,) = told({"model": model})
    assert line.startswith(expected)
