"""The server: images and prompts in by HTTP, boxes out, and a limit on all that comes in."""
