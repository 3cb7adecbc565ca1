"""Pictures: their files, what of them is accepted and stored, and what is found in them."""
