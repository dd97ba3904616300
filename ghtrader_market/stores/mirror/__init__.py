"""The lake mirrored to QuestDB: pending writes, comparison, repair."""
