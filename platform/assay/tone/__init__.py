"""Tone: does a text read like an answer, or like the rest of a question?"""
