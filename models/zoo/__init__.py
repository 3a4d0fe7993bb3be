"""The trained models that are shipped, and how to find them."""
