"""IFS and ObjecQA: prompts and questions, the hook inside trials, and who labels the answers."""
