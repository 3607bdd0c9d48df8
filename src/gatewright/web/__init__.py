"""Sockets, connections and header checks that the server and the inspector share."""
