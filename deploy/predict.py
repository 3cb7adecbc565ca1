"""A model in this process: the labels of batches of images."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from manylabel.deploy.classifier import ImageClassifier
from manylabel.deploy.errors import DeploymentError
from manylabel.deploy.origin import SAVED_MODEL, ExportedModel, TrainedModel
from manylabel.deploy.predicted_labels import Prediction
from manylabel.storage.errors import reason_of
from manylabel.trainer.predict import share_gpus


class Predictor:
    """Answers as the exported graph does: a run is asked through the graph that `export` writes."""

    def __init__(self, model: TrainedModel | ExportedModel, top_k: int | None = None) -> None:
        """Loads the weights.

        Args:
            top_k: labels of an image, at most as many as the model returns; None for all of them.

        Raises:
            CheckpointError: the run's checkpoint is damaged.
            DeploymentError: it is not there any more, or the exported model cannot be loaded.
        """
        if isinstance(model, TrainedModel):
            # Kept, because a method that TensorFlow has traced does not hold its object.
            self._classifier = ImageClassifier(model)
            self._classify = self._classifier.classify
        else:
            self._classify = _loaded(model)
        self._top_k = top_k

    def predict(self, images: Sequence[bytes]) -> list[Prediction]:
        """The predictions for JPEG or PNG files' bytes, one for each; a bad one fails no other."""
        answer = self._classify(images=tf.constant(images, tf.string))
        return [
            Prediction((), (), fault.decode())
            if fault
            else Prediction(tuple(label.decode() for label in labels), tuple(scores))
            for labels, scores, fault in zip(
                answer["labels"].numpy()[:, : self._top_k].tolist(),
                answer["scores"].numpy()[:, : self._top_k].tolist(),
                answer["faults"].numpy().tolist(),
                strict=True,
            )
        ]


def _loaded(model: ExportedModel) -> Callable[..., dict[str, tf.Tensor]]:
    directory = model.directory / SAVED_MODEL
    share_gpus()
    try:
        signature: Callable[..., dict[str, tf.Tensor]] = tf.saved_model.load(
            str(directory)
        ).signatures["serving_default"]
    except Exception as error:  # A damaged file makes TensorFlow raise almost anything.
        raise DeploymentError(
            f"{directory}: cannot be loaded, export it again: {reason_of(error)[:200]}"
        ) from error
    return signature
