"""Articles are checked, wait for an editor and a lawyer, and are published."""
