"""What a dataset or a model is worth: gates on its figures, and the report that shows them."""
