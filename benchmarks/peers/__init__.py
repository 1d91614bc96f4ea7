"""Scripts that run in a peer's own virtual environment and import nothing of this project."""
