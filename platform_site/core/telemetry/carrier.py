"""How the headers of a trace travel with a run."""

# Under names that begin so they stand among the headers that a run sees; no client can send such a header.
CARRIED = "__trace_"
