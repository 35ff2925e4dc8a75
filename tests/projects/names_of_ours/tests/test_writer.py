raise RuntimeError("somebody imported the tests of the project")
