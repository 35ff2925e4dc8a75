# No graph imports it.
raise RuntimeError("somebody imported the project's script `store`")
