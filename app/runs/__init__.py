"""Trainings and evaluations: long work of one piece, durable like a job."""
