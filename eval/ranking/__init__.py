"""The metric: rankings of classes held against labels."""
