"""When which checkpoints are evaluated: settings, decisions, and a record of every fire."""
