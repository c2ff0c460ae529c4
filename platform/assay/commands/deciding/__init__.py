"""Commands that decide with less: rounds over a table, trainings that cannot win, mixtures predicted from few."""
