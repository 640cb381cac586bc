"""Dialogs: one .ui file and one small class each; what needs no widget is in plain functions."""
