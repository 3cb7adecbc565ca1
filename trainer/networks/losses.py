"""Training losses over sparse labels: no dense matrix of targets is ever made.

z is an image's logit and y its label confidence, for class c of C; s is the label smoothing.

- sigmoid: sum_c [softplus(z_c) - y_c z_c]: the cross-entropy of C independent logistic
  regressions, the labels entering only where y_c is not zero;
- sigmoid with unknown: ignore: the same sum over the known classes only, which are the image's
  labels (y > 0) and its verified absences (y = 0);
- softmax: sum_c q_c [logsumexp(z) - z_c] with q = (1 - s) y / sum(y) + s / C: label smoothing as
  in Szegedy et al. 2016 (arXiv 1512.00567), section 7, with a uniform distribution.
"""

import tensorflow as tf

from manylabel.trainer.networks.loss_config import (
    ClassReduction,
    LossConfig,
    LossKind,
    UnknownKind,
)
from manylabel.trainer.records.batches import SparseLabels


def label_loss(logits: tf.Tensor, labels: SparseLabels, config: LossConfig) -> tf.Tensor:
    """Mean loss of the batch's images, a float32 scalar.

    With class_reduction mean, an image's sum is divided by its number of terms: C, or with
    unknown: ignore its known classes. An image of which nothing is known then adds 0.

    logits: [B, C], any floating type; all arithmetic is float32.
    """
    logits = tf.cast(logits, tf.float32)
    terms = tf.shape(logits)[0]
    if config.kind is LossKind.SOFTMAX:
        total = _softmax_total(logits, labels, config.label_smoothing)
    elif config.unknown is UnknownKind.IGNORE:
        total = _known_total(logits, labels, config.class_reduction)
    else:
        total = _sigmoid_total(logits, labels)
        if config.class_reduction is ClassReduction.MEAN:
            terms *= tf.shape(logits)[1]
    return total / tf.cast(terms, tf.float32)


def _sigmoid_total(logits: tf.Tensor, labels: SparseLabels) -> tf.Tensor:
    indices = _places(labels)
    pulls = labels.confidences * tf.gather_nd(logits, indices)
    # Subtracted class by class, not sum from sum: for a large z, softplus(z) - z must cancel
    # before small losses are lost in the rounding of a sum of large ones.
    losses = tf.tensor_scatter_nd_sub(tf.nn.softplus(logits), indices, pulls)
    return tf.reduce_sum(losses)


def _known_total(logits: tf.Tensor, labels: SparseLabels, reduction: ClassReduction) -> tf.Tensor:
    """Only what is gathered here has a gradient: that of an unknown class is exactly 0."""
    known = tf.gather_nd(logits, _places(labels))
    losses = tf.nn.softplus(known) - labels.confidences * known
    if reduction is ClassReduction.MEAN:
        losses /= tf.gather(_sums_by_image(tf.ones_like(known), labels, logits), labels.row_ids)
    return tf.reduce_sum(losses)


def _softmax_total(logits: tf.Tensor, labels: SparseLabels, smoothing: float) -> tf.Tensor:
    """An image whose confidences sum to zero has no target and adds nothing."""
    mass = _sums_by_image(labels.confidences, labels, logits)
    shares = tf.math.divide_no_nan(labels.confidences, tf.gather(mass, labels.row_ids))
    log_probabilities = tf.nn.log_softmax(logits)
    total = -tf.reduce_sum(shares * tf.gather_nd(log_probabilities, _places(labels)))
    if smoothing == 0:
        return total
    uniform = -tf.reduce_mean(log_probabilities, axis=1)
    return (1 - smoothing) * total + smoothing * tf.reduce_sum(tf.where(mass > 0, uniform, 0.0))


def _sums_by_image(values: tf.Tensor, labels: SparseLabels, logits: tf.Tensor) -> tf.Tensor:
    """Sums of the triples' values, [N], by image, [B]."""
    images = tf.shape(logits, out_type=tf.int64)[0]
    return tf.math.unsorted_segment_sum(values, labels.row_ids, images)


def _places(labels: SparseLabels) -> tf.Tensor:
    """Of the triples in the logits, int64 [N, 2]."""
    return tf.stack([labels.row_ids, labels.class_ids], axis=1)
