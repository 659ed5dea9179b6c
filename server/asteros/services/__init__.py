"""The gRPC face: one servicer per proto service, and what stands in front of all of them."""
