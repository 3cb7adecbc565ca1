"""Class-weighted MAP@100 and its companions, from predictions and held-out labels."""
