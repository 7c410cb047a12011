"""Files: atomic writes, hashes, JSON and YAML with limits, and command lines that can be pasted."""
