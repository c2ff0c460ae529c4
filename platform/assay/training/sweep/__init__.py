"""Many trainings: trials of Ray Tune on resident workers, shared by lease, gangs by Ray Train."""
