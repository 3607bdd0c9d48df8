"""Sessions in a Valkey or Redis server, for several replicas behind a load balancer."""
