"""The model: its architecture as data, its network, its package on disk, and what runs it."""
