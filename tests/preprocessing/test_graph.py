"""Phase one as a graph that any runner of Beam's takes: public interfaces, declared types."""

import ast
from pathlib import Path

import pyarrow as pa
import pytest
from apache_beam import Pipeline
from apache_beam.coders import registry
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.pipeline import PipelineVisitor
from apache_beam.typehints import Any
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type
from upath import UPath

from manylabel import preprocessing
from manylabel.preprocessing.config import PreprocessingConfig
from manylabel.preprocessing.job import preprocess
from manylabel.preprocessing.pictures.checking import CheckJob
from manylabel.preprocessing.planning.phase_one import plan_dataset
from manylabel.preprocessing.transport.coder import TableCoder
from manylabel.preprocessing.transport.runner import parse_options
from manylabel.preprocessing.transport.shuffle import Bucketed
from manylabel.storage.schema import SplitName

pytestmark = pytest.mark.slow

PACKAGE = Path(preprocessing.__path__[0])
IMAGES = 12


@pytest.fixture(scope="module")
def catalog(tmp_path_factory, picture, write_csv):
    root = tmp_path_factory.mktemp("catalog")
    for number in range(IMAGES):
        (root / f"{number}.png").write_bytes(picture(number))
    rows = [(f"{number}.png", f"half {number % 2}", 1) for number in range(IMAGES)]
    write_csv(root / "heldout.csv", rows[:4])
    return write_csv(root / "labels.csv", rows)


def config_of(catalog, options=(), heldout=None):
    return PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(catalog)},
            "heldout": heldout or {"size": 4},
            "shards": {"images_per_shard": 5},
            "executor": "inline",
            "runner": {"options": options},
        }
    )


def own_heldout(catalog):
    """Some of the pictures, in a catalog of their own."""
    return {"catalog": {"path": str(catalog.with_name("heldout.csv"))}}


def built(catalog, options=(), heldout=None):
    """The pipeline of phase one, as it would be handed to the runner that the options name."""
    config = config_of(catalog, options, heldout)
    pipeline = Pipeline(options=parse_options(config.runner.options))
    roots = {SplitName.TRAIN: UPath(catalog).parent}
    job = CheckJob(roots, config.images, UPath("memory://dataset"))
    plan_dataset(pipeline, config, job, buckets=3)
    return pipeline


OPTIONS = [
    # Options as Beam's documentation has them, and what its own parser makes of them.
    (
        [
            "--runner=FlinkRunner",
            "--flink_master=flink:8081",
            "--parallelism=64",
            "--environment_type=DOCKER",
            "--environment_config=registry.example/manylabel:1",
        ],
        {
            StandardOptions: {"runner": "FlinkRunner"},
            FlinkRunnerOptions: {"flink_master": "flink:8081", "parallelism": 64},
            PortableOptions: {
                "environment_type": "DOCKER",
                "environment_config": "registry.example/manylabel:1",
            },
        },
    ),
    (
        [
            "--runner=SparkRunner",
            "--spark_master_url=spark://master:7077",
            "--spark_version=3",
            "--environment_type=PROCESS",
            '--environment_config={"command": "/opt/apache/beam/boot"}',
        ],
        {
            StandardOptions: {"runner": "SparkRunner"},
            SparkRunnerOptions: {"spark_master_url": "spark://master:7077", "spark_version": "3"},
            PortableOptions: {"environment_type": "PROCESS"},
        },
    ),
    (
        [
            "--runner=DataflowRunner",
            "--project=project-123",
            "--region=europe-west1",
            "--temp_location=gs://bucket/temporary",
            "--max_num_workers=20",
            "--sdk_container_image=registry.example/manylabel:1",
        ],
        {
            StandardOptions: {"runner": "DataflowRunner"},
            GoogleCloudOptions: {
                "project": "project-123",
                "region": "europe-west1",
                "temp_location": "gs://bucket/temporary",
            },
            WorkerOptions: {
                "max_num_workers": 20,
                "sdk_container_image": "registry.example/manylabel:1",
            },
        },
    ),
]


@pytest.mark.parametrize(("options", "parsed"), OPTIONS, ids=["Flink", "Spark", "Dataflow"])
def test_the_graph_is_built_for_the_runner_that_the_options_name(catalog, options, parsed):
    pipeline = built(catalog, options)
    assert f"--runner={type(pipeline.runner).__name__}" == options[0]
    for kind, expected in parsed.items():
        view = pipeline.options.view_as(kind)
        assert {name: getattr(view, name) for name in expected} == expected
    message = pipeline.to_runner_api(use_fake_coders=False)
    assert len(message.components.transforms) > 50


@pytest.mark.parametrize("own", [False, True], ids=["one catalog", "two catalogs"])
def test_the_same_bytes_come_of_options(catalog, tmp_path, dataset_bytes, own):
    """Tables travel as streams then, and each shard is a step of its own."""
    runner = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
    heldout = own_heldout(catalog) if own else None
    preprocess(config_of(catalog, heldout=heldout), str(tmp_path / "without"))
    preprocess(config_of(catalog, [runner], heldout), str(tmp_path / "with"))
    without, with_ = dataset_bytes(tmp_path / "without"), dataset_bytes(tmp_path / "with")
    assert without == with_
    assert sum(name.endswith(".tfrecord") for name in without) > 2


class Types(PipelineVisitor):
    """The type of each output that another step reads, by the output's full name."""

    def __init__(self):
        self.produced = {}
        self.consumed = set()

    def visit_transform(self, transform_node):
        for tag, output in transform_node.outputs.items():
            self.produced[output] = f"{transform_node.full_label}[{tag}]"
        self.consumed |= {*transform_node.inputs}
        self.consumed |= {side.pvalue for side in transform_node.side_inputs}

    def of(self, pipeline):
        pipeline.visit(self)
        return {
            name: output.element_type
            for output, name in self.produced.items()
            if output in self.consumed
        }


def parts_of(type_):
    """A type and all that it is made of."""
    if not hasattr(type_, "visit"):
        return [type_]
    found = []
    type_.visit(lambda part, _: found.append(part), None)
    return found


@pytest.mark.parametrize("own", [False, True], ids=["one catalog", "two catalogs"])
def test_no_output_is_left_for_beam_to_guess(catalog, own):
    """What it cannot infer it pickles whole: four times the memory, and slower."""
    types = Types().of(built(catalog, heldout=own_heldout(catalog) if own else None))
    assert [name for name, type_ in types.items() if Any in parts_of(type_)] == []
    assert len([name for name, type_ in types.items() if pa.Table in parts_of(type_)]) > 20


@pytest.mark.parametrize("type_", [pa.Table, Bucketed, list[pa.Table]])
def test_tables_are_coded_by_our_own_coder(type_):
    assert TableCoder.__name__ in str(registry.get_coder(convert_to_beam_type(type_)))


def imports_of(tree):
    """Modules and names that a module imports, each as one dotted path."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def private_names(tree):
    """Of attributes that are not an object's own; `__context__` and the like are Python's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr[0] == "_" and node.attr[-1] != "_":
            of = node.value
            if not isinstance(of, ast.Name) or of.id != "self":
                yield node.attr


def test_only_public_names_of_beam_are_used():
    """So that its next version can be installed, and each of its runners takes the graph."""
    through = PACKAGE / "transport" / "beam.py"
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        names = list(imports_of(tree))
        ours = [name for name in names if name.startswith("apache_beam")]
        assert [name for name in ours if path != through or "._" in name] == [], path
        if any(name.startswith("manylabel.preprocessing.transport.beam") for name in names):
            assert list(private_names(tree)) == [], path
