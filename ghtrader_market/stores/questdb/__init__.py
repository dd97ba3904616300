"""Implements the QuestDB store: client, tables, builds, migrations."""
