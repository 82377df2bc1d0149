"""`hilum mcp`: the systems as tools for an agent, over the Model Context Protocol on stdin and stdout."""
