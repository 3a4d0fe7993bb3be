"""Recipes: a request for samples as a file that a person writes and a pipeline carries out."""
