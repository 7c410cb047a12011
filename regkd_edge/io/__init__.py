"""Files: atomic writes, hashes, JSON and YAML with limits, and shell-quoted command lines."""
