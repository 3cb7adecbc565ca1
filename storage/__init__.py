"""Files: how they appear, what they say of themselves, and the dataset that they make up."""
