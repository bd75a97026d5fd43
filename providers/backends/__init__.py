"""Every provider type's code, by type."""
