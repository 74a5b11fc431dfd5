"""What Gatepost costs per request, measured beside the machine's own limits and beside its peers."""
