"""From encoded images to label names, as one graph: what is exported, and what `predict` runs."""

import keras
import tensorflow as tf

from manylabel.deploy.batch import network_inputs
from manylabel.deploy.errors import DeploymentError
from manylabel.deploy.origin import TrainedModel
from manylabel.trainer.predict import load_checkpoint, new_model, probabilities, top_classes
from manylabel.trainer.runs.checkpoint import kept


class ImageClassifier(tf.Module):
    """A checkpoint's network between a decoder of image files and the names of labels.

    Attributes:
        network: images float32 [B, size, size, 3] in [-1, 1] in, logits out; its weights are the
            Polyak average.
    """

    def __init__(self, model: TrainedModel) -> None:
        """Loads the weights.

        Raises:
            CheckpointError: the checkpoint is damaged.
            DeploymentError: retention has removed it meanwhile.
        """
        super().__init__()
        self.network = _network(model)
        # Also as TensorFlow's own: of Keras' variables TensorFlow Lite makes NaN.
        self._variables = [variable.value for variable in self.network.variables]
        config = model.description.trainer
        self._labels = tf.constant(model.labels)
        self._kind = config.loss.kind
        self._size = config.model.input_size
        self._framing = config.input.framing
        self._policy = model.origin.images
        self._top_k = model.origin.top_k
        shape = [None, self._size, self._size, 3]
        pixels = tf.TensorSpec(shape, tf.float32, name="pixels")
        self.logits = tf.function(self._logits, [pixels], autograph=False)

    def _logits(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Pixels float32 [B, size, size, 3] in [-1, 1] to logits float32 [B, C]: the network alone,
        without operations that other runtimes lack."""
        return {"logits": tf.cast(self.network(pixels, training=False), tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")], autograph=False)
    def classify(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best labels of encoded images; a bad image has a fault instead and fails no other.

        Args:
            images: string [B], JPEG or PNG files' bytes.

        Returns:
            labels: string [B, k], best first; class_ids: int32 [B, k], their rows in the table of
            labels; scores: float32 [B, k], probabilities. k is smaller than asked for where there
            are fewer classes. faults: string [B], "" or why the image is refused; its labels are
            then "", its class ids -1 and its scores 0.
        """
        pixels, faults = network_inputs(images, self._policy, self._size, self._framing)
        logits = self.network(pixels, training=False)
        scores, class_ids = top_classes(logits, self._kind, self._top_k)
        is_seen = (faults == "")[:, tf.newaxis]
        return {
            "labels": tf.where(is_seen, tf.gather(self._labels, class_ids), ""),
            "class_ids": tf.where(is_seen, class_ids, -1),
            "scores": tf.where(is_seen, probabilities(scores, self._kind), 0.0),
            "faults": faults,
        }


def _network(model: TrainedModel) -> keras.Model:
    with kept([model.checkpoint]) as found:
        if not found:
            raise DeploymentError(
                f"{model.checkpoint.path}: was removed just now; run the same command again"
            )
        network = new_model(model.description)
        load_checkpoint(network, model.checkpoint, averaged=True)
    return network
