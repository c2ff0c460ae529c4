"""Studies that end when their question is answered: what is asked, what each round wants, what was decided and why."""
