"""The QuestDB store: client, tables, builds, migrations."""
