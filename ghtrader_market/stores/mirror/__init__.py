"""Mirrors the lake to QuestDB: pending writes, comparison, repair."""
