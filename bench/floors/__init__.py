"""What no server can go below on this machine; none of it is part of Gatepost."""
