"""Files: where they may be written, and panels in csv."""
