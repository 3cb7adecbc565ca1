"""One module a page: what it shows, from what the stores hold."""
