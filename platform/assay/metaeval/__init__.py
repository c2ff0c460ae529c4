"""Which numbers deserve belief: agreement, intervals, tests and tables over scores that others made.

Pure NumPy and SciPy. Nothing here knows who made a score, reads a file or owns randomness: a seeded
`numpy.random.Generator` is an argument wherever resampling takes place.
"""
