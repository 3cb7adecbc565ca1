"""The networks that can be trained, with what each costs."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter

from manylabel.trainer.config import TrainerConfig
from manylabel.trainer.networks.backbone_config import Backbone
from manylabel.trainer.networks.config import ModelConfig
from manylabel.trainer.networks.figures import NetworkFigures, network_figures

# Of one network: where the paper, or two papers, have two forms.
_FORMS: tuple[dict[str, object], ...] = (
    {"name": "xception"},
    {"name": "inception_v3"},
    {"name": "inception_v3", "variant": "2016"},
    {"name": "vgg_separable"},
    {"name": "vgg16"},
    {"name": "resnet"},
    {"name": "resnet", "bias": True},
)


@dataclass(frozen=True)
class ListedNetwork:
    """A network as `trainer.model` sets it.

    Attributes:
        settings: besides its name, those that are not as they are by default: "variant=2016".
        l2: TrainerConfig.l2 where that is not given.
    """

    name: str
    settings: tuple[str, ...]
    input_size: int
    l2: float
    figures: NetworkFigures


def networks(classes: int, *, backbones: bool = False) -> Iterator[ListedNetwork]:
    """Yields every network with its own defaults, at its own input size.

    Args:
        backbones: those of keras.applications instead, each by itself.
    """
    chosen = [{"name": "keras_applications", "backbone": backbone} for backbone in Backbone]
    adapter: TypeAdapter[ModelConfig] = TypeAdapter(ModelConfig)
    for form in chosen if backbones else _FORMS:
        yield _listed(adapter.validate_python(form), classes)


def network_of(config: TrainerConfig, classes: int) -> ListedNetwork:
    """The network of a run's settings."""
    return _listed(config.model, classes)


def _listed(config: ModelConfig, classes: int) -> ListedNetwork:
    fields = type(config).model_fields
    tree = config.model_dump(mode="json")
    changed = [
        f"{key}={tree[key]}"
        for key, value in config
        if key not in ("name", "input_size", "batch_norm_momentum") and value != fields[key].default
    ]
    return ListedNetwork(
        name=config.name,
        settings=tuple(changed),
        input_size=config.input_size,
        l2=config.DEFAULT_L2,
        figures=network_figures(config, classes),
    )
