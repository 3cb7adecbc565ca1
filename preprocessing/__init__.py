"""From a catalog of labelled images to a dataset: TFRecord shards, label table and manifest."""
