"""What leaves the project: exported models."""
