"""Figures of a generator: are its labels true, and can a classifier learn from its samples?"""
