"""The dashboard: pages that read runs, evaluations, reviews and promotions, and write nothing."""
