"""Networks: functions from a frozen configuration to a Keras model that returns logits."""
