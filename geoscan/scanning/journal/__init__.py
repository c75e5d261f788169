"""The journal of a scan: what was scored, batch by batch, so that a scan that was ended goes on from there."""
