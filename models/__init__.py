"""Model packages that geoscan ships; `geoscan.model.package` opens them."""
