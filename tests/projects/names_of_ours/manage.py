NAME = "the project's own manage"
