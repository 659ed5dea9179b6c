"""HTTP in front of any gRPC service: given a channel and descriptors, nothing else."""
