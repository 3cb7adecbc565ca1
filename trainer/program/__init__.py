"""The processes of a training job, as Ray actors or in one process."""
