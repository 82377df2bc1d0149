"""Our own JSON API, a file for each noun; other protocols mount their routers beside it."""
