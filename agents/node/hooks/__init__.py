"""The operator's hooks: running them within bounds, what they may answer, what their failures entail, ready ones."""
