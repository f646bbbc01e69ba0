//! What vfnet talks about: addresses, networks, ports, guests, node devices, and their documents.
