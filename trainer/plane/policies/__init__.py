"""Update policies: which gradients become an update, and who may begin another."""
