raise ExceptionGroup("two reasons", [ValueError("the first key is missing"), OSError("the second file, too")])
