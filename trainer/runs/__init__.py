"""What a run keeps on disk: its description, its checkpoints, its metrics."""
