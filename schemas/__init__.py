"""The contract: every command, event, topic and HTTP form of Hourbook as pydantic models; imports nothing of ours."""
