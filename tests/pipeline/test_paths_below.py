"""No name that a file on disk holds leads out of the folder that it is joined to."""

import json

import pytest
from pydantic import BaseModel, ValidationError

from manylabel.eval.review.model import Reviewed
from manylabel.eval.schedule.records import FireEvaluation, FireJob, FireRecord
from manylabel.eval.store.promotions import Evidence, PromotedCheckpoint
from manylabel.eval.store.summary import EvaluationSummary
from manylabel.preprocessing.planning.dataset_plan import DatasetPlan
from manylabel.storage.dataset import Dataset
from manylabel.storage.errors import DamagedDocumentError
from manylabel.storage.manifest import RecordShard
from manylabel.trainer.runs.checkpoint import StateFile


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (RecordShard, "path"),
        (RecordShard, "index_path"),
        (StateFile, "name"),
        (PromotedCheckpoint, "run"),
        (Evidence, "review"),
        (Evidence, "settings"),
        (Reviewed, "run"),
        (Reviewed, "settings"),
        (EvaluationSummary, "settings"),
        (FireEvaluation, "run"),
        (FireEvaluation, "settings"),
        (FireJob, "run"),
        (FireRecord, "schedule"),
        (FireRecord, "key"),
        (FireRecord, "run"),
        (FireRecord, "log"),
    ],
)
def test_a_field_that_is_joined_to_a_folder_takes_no_way_out(model: type[BaseModel], field):
    others: dict[str, object] = dict.fromkeys(model.model_fields)
    for path in ("../x", "/x", "a/../../x"):
        assert "expected a path below its folder" in problems(model, others | {field: path})[field]
    assert field not in problems(model, others | {field: "below/x", "no such field": 1})


def problems(model: type[BaseModel], values: dict[str, object]) -> dict[object, str]:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(values)
    return {error["loc"][0]: error["msg"] for error in raised.value.errors()}


def test_a_dataset_whose_manifest_names_a_file_elsewhere_is_refused(make_dataset):
    root = make_dataset({"a.jpg": [0]}, [1]).root
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["splits"]["heldout"]["shards"][0]["path"] = "../../secret"
    (root / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        DamagedDocumentError, match=r"manifest\.json: .*received '\.\./\.\./secret'"
    ):
        Dataset.open(root)


def test_a_plan_names_shards_alone(tmp_path):
    """Shards that it names are deleted before they are written again."""
    plan: dict[str, object] = {
        "format_version": DatasetPlan.version(),
        "fingerprint": "f",
        "image_root": "/pictures",
        "labels_digest": "f",
        "heldout_images_digest": "f",
        "listed": 1,
        "shards": {"train": ["train-00000-of-00001"], "heldout": []},
    }
    assert DatasetPlan.parse(json.dumps(plan).encode(), tmp_path)
    for name in ("train-/../../x", "train-00000-of-00001/../../x", "heldout-00000-of-00001"):
        plan["shards"] = {"train": [name], "heldout": []}
        with pytest.raises(DamagedDocumentError, match="expected names as train-00000-of-00008"):
            DatasetPlan.parse(json.dumps(plan).encode(), tmp_path)
