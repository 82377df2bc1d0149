"""The server: everything that hilum can do, by HTTP. One process, on loopback unless told otherwise."""
