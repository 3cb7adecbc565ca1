"""Which training record, when, and how it looks to the network."""
