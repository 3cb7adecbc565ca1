"""Jobs on a Ray cluster: submitted, followed, stopped, and asked how they are."""
