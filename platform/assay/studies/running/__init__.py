"""The parts of a run: what is opened, its rows, engines, judge, waves, rounds and tables; the pipeline orders them."""
