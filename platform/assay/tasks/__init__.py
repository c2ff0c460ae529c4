"""Tasks: what is asked, where its examples come from, and how a prompt is made of one."""
