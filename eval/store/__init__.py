"""What evaluations leave on disk."""
