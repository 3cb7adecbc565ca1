"""Training losses over sparse labels: no dense matrix of targets is ever made.

z is an image's logit and y its label confidence, for class c of C.

- sigmoid: sum_c [softplus(z_c) - y_c z_c]: the cross-entropy of C independent logistic
  regressions, the labels entering only where y_c is not zero;
- softmax: sum_c p_c [logsumexp(z) - z_c] with p = y / sum(y).
"""

import tensorflow as tf

from manylabel.trainer.networks.loss_config import ClassReduction, LossConfig, LossKind
from manylabel.trainer.records.batches import SparseLabels


def label_loss(logits: tf.Tensor, labels: SparseLabels, config: LossConfig) -> tf.Tensor:
    """Mean loss of the batch's images, a float32 scalar.

    logits: [B, C], any floating type; all arithmetic is float32.
    """
    logits = tf.cast(logits, tf.float32)
    if config.kind is LossKind.SOFTMAX:
        total = _softmax_total(logits, labels)
    else:
        total = _sigmoid_total(logits, labels)
    terms = tf.shape(logits)[0]
    if config.class_reduction is ClassReduction.MEAN:
        terms *= tf.shape(logits)[1]
    return total / tf.cast(terms, tf.float32)


def _sigmoid_total(logits: tf.Tensor, labels: SparseLabels) -> tf.Tensor:
    indices = tf.stack([labels.row_ids, labels.class_ids], axis=1)
    pulls = labels.confidences * tf.gather_nd(logits, indices)
    # Subtracted class by class, not sum from sum: for a large z, softplus(z) - z must cancel
    # before small losses are lost in the rounding of a sum of large ones.
    losses = tf.tensor_scatter_nd_sub(tf.nn.softplus(logits), indices, pulls)
    return tf.reduce_sum(losses)


def _softmax_total(logits: tf.Tensor, labels: SparseLabels) -> tf.Tensor:
    """An image whose confidences sum to zero has no target and adds nothing."""
    batch = tf.shape(logits, out_type=tf.int64)[0]
    mass = tf.math.unsorted_segment_sum(labels.confidences, labels.row_ids, batch)
    shares = tf.math.divide_no_nan(labels.confidences, tf.gather(mass, labels.row_ids))
    log_probabilities = tf.nn.log_softmax(logits)
    indices = tf.stack([labels.row_ids, labels.class_ids], axis=1)
    return -tf.reduce_sum(shares * tf.gather_nd(log_probabilities, indices))
