"""What is decided about a dataset: pure functions of Arrow tables, each of one whole bucket."""
