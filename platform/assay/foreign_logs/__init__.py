"""Logs of other evaluation tools, read without these tools: inspect-ai's and lm-evaluation-harness's."""
