"""The parameter plane: shards of the flat parameter vector, and the one order of their updates."""
