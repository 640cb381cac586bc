"""Dialogs and docks: one .ui file and one small class each."""
