"""From a catalog of labelled images to checked TFRecord shards."""
