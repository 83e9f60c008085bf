"""The publishing half of updates: keys, and a repository of static files that machines update from."""
