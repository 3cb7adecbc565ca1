"""How far a number, or the difference of two, can be trusted."""
