"""The kinds of studies that commands know: each answers the same questions, and no command asks which kind it has."""
