"""Systems: one card (.toml) and one method section (.py) each. No system imports another."""
